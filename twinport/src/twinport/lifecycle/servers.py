"""Servers: started one after the other on sockets taken before, and stopped together."""

import asyncio
import os
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from loguru import logger

from ..errors import StartupError
from .stop import Stop

BACKLOG = 1024

INTERNET = (socket.AF_INET, socket.AF_INET6)


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


class Servers:
    """Watches what it started; a server that ends by itself ends the service in order."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._started: list[Server] = []
        self._watches: dict[asyncio.Task[None], str] = {}

    async def start(self, *servers: Server) -> None:
        """Let `servers` accept calls; raises StartupError."""
        for server in servers:
            await server.start()
            self._started.append(server)
            watch = asyncio.create_task(server.wait())
            self._watches[watch] = server.name
            watch.add_done_callback(self._ended)

    async def close(self, grace: float) -> None:
        """Stop all at once; what still runs after `grace` seconds, or in a hurry, is cut."""
        for watch in self._watches:
            watch.remove_done_callback(self._ended)
        stopping = asyncio.ensure_future(self._each_stopped(grace))
        hurry = asyncio.ensure_future(self._stop.hurry.wait())
        await asyncio.wait((stopping, hurry), return_when=asyncio.FIRST_COMPLETED)
        if hurry.done():
            await self._each_stopped(0)
        hurry.cancel()
        await stopping
        await asyncio.gather(*self._watches, return_exceptions=True)

    async def _each_stopped(self, grace: float) -> None:
        stops = (server.stop(grace) for server in self._started)
        for error in await asyncio.gather(*stops, return_exceptions=True):
            if error is not None:
                logger.opt(exception=error).error("a server did not stop in order")

    def _ended(self, watch: asyncio.Task[None]) -> None:
        name, error = self._watches[watch], None if watch.cancelled() else watch.exception()
        if error is not None:
            logger.opt(exception=error).error("the {} server died", name)
        cause = f"died: {type(error).__name__}" if error else "ended by itself"
        self._stop.fail(f"the {name} server {cause}")


@contextmanager
def kept_from_children(ports: Collection[int]) -> Iterator[None]:
    """Let no child that is forked meanwhile hold a socket of `ports`, listening or accepted.

    It would keep a port taken, and a connection open, after the service has closed its own.
    """
    kept = set(ports)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _release_ports(kept))  # for ever, hence `clear`
    try:
        yield
    finally:
        kept.clear()


def _release_ports(ports: Collection[int]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in _open_descriptors() if ports else ():
        if _port(descriptor) in ports:  # not closed: objects that know the number may close it
            os.dup2(null, descriptor, inheritable=False)
    os.close(null)


def _open_descriptors() -> list[int]:
    with suppress(OSError):  # neither /proc nor its like is there
        return [int(name) for name in os.listdir("/dev/fd")]
    return []


def _port(descriptor: int) -> int | None:
    try:
        borrowed = socket.socket(fileno=descriptor)
    except OSError:  # no socket
        return None
    try:
        port: int | None = borrowed.getsockname()[1] if borrowed.family in INTERNET else None
        return port
    finally:
        borrowed.detach()
