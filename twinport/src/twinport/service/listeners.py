"""The three ports, taken before anything else is opened."""

from contextlib import ExitStack
from socket import socket
from typing import NamedTuple

from ..lifecycle import bind
from ..rpc.server import RpcServer
from .ports import Ports
from .settings import Settings

__all__ = ["Listeners", "Ports", "take_ports"]


class Listeners(NamedTuple):
    """The sockets of the HTTP ports; that of gRPC is its server's own."""

    http: socket
    management: socket
    ports: Ports

    def close(self) -> None:
        """Give back the ports, also those that no server has taken over."""
        self.http.close()
        self.management.close()


def take_ports(settings: Settings, rpc: RpcServer) -> Listeners:
    """Take all ports or none; raises StartupError."""
    with ExitStack() as taken:
        http = taken.enter_context(bind("http", settings.http.host, settings.http.port))
        host, port = settings.management.host, settings.management.port
        management = taken.enter_context(bind("management", host, port))
        ports = Ports(_port(http), rpc.bind(), _port(management))
        taken.pop_all()
    return Listeners(http, management, ports)


def _port(bound: socket) -> int:
    port: int = bound.getsockname()[1]
    return port
