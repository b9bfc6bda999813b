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
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    every = host == "::" and socket.has_dualstack_ipv6()
    try:
        bound = socket.create_server(
            (host, port), family=family, backlog=BACKLOG, dualstack_ipv6=every
        )
    except OSError as error:
        raise StartupError(f"{name}.port: {host}:{port}: {_reason(error)}") from error
    bound.setblocking(False)
    return bound


def _reason(error: OSError) -> str:
    said = error.strerror or str(error)
    return said.partition(" (while ")[0]  # create_server adds the address, which stands before
