"""The three ports, taken before anything else is opened."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from socket import socket
from typing import NamedTuple

from ..lifecycle import bind, kept_from_children
from ..rpc.server import RpcServer
from .ports import Ports
from .settings import Settings


class Listeners(NamedTuple):
    """The sockets of the HTTP ports; that of gRPC is its server's own."""

    http: socket
    management: socket
    ports: Ports


@contextmanager
def ports_taken(settings: Settings, rpc: RpcServer) -> Iterator[Listeners]:
    """Take all ports or none, and give them back, taken over by a server or not.

    Raises StartupError.
    """
    with ExitStack() as taken:
        http = taken.enter_context(bind("http", settings.http.host, settings.http.port))
        host, port = settings.management.host, settings.management.port
        management = taken.enter_context(bind("management", host, port))
        ports = Ports(_port(http), rpc.bind(), _port(management))
        taken.enter_context(kept_from_children(ports))
        yield Listeners(http, management, ports)


def _port(bound: socket) -> int:
    port: int = bound.getsockname()[1]
    return port
