"""Serves an application with hypercorn's protocols: HTTP/1.1 and HTTP/2 on one port."""

import asyncio
import logging
import socket

from hypercorn.config import Config
from starlette.types import ASGIApp

from .fences.connection import Connection
from .fences.listener import Listener
from .settings import HttpLimits

NO_LIMIT = 2**31
LONGEST_LOOK_S = 1.0  # between two looks at the times of all connections
LOOKS = 4  # within the shortest limit
CUT_S = 0.3  # for a cut handler to say goodbye, and again for its connection to go

log = logging.getLogger("hypercorn.error")


class HypercornServer:
    """Accepts on a listening socket from `start` to `stop`."""

    def __init__(self, name: str, app: ASGIApp, bound: socket.socket, limits: HttpLimits) -> None:
        self.name = name
        self._bound = bound
        self._listener = Listener(app, _config(limits), limits)

    async def start(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._accept, sock=self._bound)
        self._watch = asyncio.create_task(self._look())

    async def stop(self, grace: float) -> None:
        """Take no more work, let calls finish for `grace` seconds, then cut them."""
        self._server.close()
        await self._listener.context.terminated.set()
        for connection in tuple(self._listener.connections):
            connection.retire()
        if not await self._quiet(grace):
            await self._cut()
        self._watch.cancel()

    async def wait(self) -> None:
        """Return when serving has ended; raises what ended it."""
        await asyncio.wait([self._watch])
        if not self._watch.cancelled():
            self._watch.result()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener = self._listener
        if listener.stopping or len(listener.connections) >= listener.limits.connections:
            writer.transport.abort()
            return
        connection = Connection(listener, reader, writer)
        connection.tasks.spawn(connection.run)

    async def _look(self) -> None:
        """Do what is due on every connection, again and again: cheaper than a timer for each."""
        loop, pause = asyncio.get_running_loop(), _pause(self._listener.limits)
        while True:
            await asyncio.sleep(pause)
            now = loop.time()
            for connection in tuple(self._listener.connections):
                connection.check(now)

    async def _quiet(self, seconds: float) -> bool:
        """Wait until nothing runs for a client; return whether that came within `seconds`."""
        busy = self._listener.busy
        return not busy or not (await asyncio.wait(busy, timeout=seconds))[1]

    async def _cut(self) -> None:
        for handler in tuple(self._listener.handlers):
            handler.cancel()
        if await self._quiet(CUT_S):
            return
        for connection in tuple(self._listener.connections):
            connection.abort()
        if not await self._quiet(CUT_S):
            log.warning("%s: %d tasks would not end", self.name, len(self._listener.busy))


def _pause(limits: HttpLimits) -> float:
    shortest = min(limits.header_time, limits.send_time, limits.idle_time, limits.connection_age)
    return min(LONGEST_LOOK_S, shortest.total_seconds() / LOOKS)


def _config(limits: HttpLimits) -> Config:
    config = Config()
    config.errorlog = logging.getLogger("hypercorn.error")  # as an object: no handler is added
    config.include_server_header = False
    config.keep_alive_max_requests = NO_LIMIT - 1  # a connection ends with its age
    config.h11_max_incomplete_size = limits.header_size
    return config
