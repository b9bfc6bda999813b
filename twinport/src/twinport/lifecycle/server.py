"""What the lifecycle asks of a server, and the socket that it gives one."""

import socket
from typing import Protocol

from ..errors import StartupError

BACKLOG = 1024


class Server(Protocol):
    """Something that takes calls; `name` is its section of the settings."""

    name: str

    async def start(self) -> None:
        """Accept calls; raises StartupError."""

    async def stop(self, grace: float) -> None:
        """Take no new calls, give running ones `grace` seconds, then cut them.

        May be called again with a shorter grace while the first call waits.
        """

    async def wait(self) -> None:
        """Return when serving has ended; raises what ended it."""


def bind(name: str, host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any free one; raises StartupError."""
    return _bound(name, host, port, listens=True)


def check_free(name: str, host: str, port: int) -> None:
    """Raise StartupError if a port is taken; nobody can connect meanwhile, as nobody listens."""
    _bound(name, host, port, listens=False).close()


def _bound(name: str, host: str, port: int, *, listens: bool) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setblocking(False)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. Without it a small part of an answer waits until the client has
        # confirmed the one before, which takes it 40 ms; asyncio sees to it, granian does not.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if bound.family is socket.AF_INET6:
            every = host == "::" and socket.has_dualstack_ipv6()
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not every)
        bound.bind((host, port))
        if listens:
            bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise StartupError(f"{name}.port: {host}:{port}: {error.strerror or error}") from error
    return bound
