"""Serves an application with hypercorn: HTTP/1.1 and HTTP/2 on one port."""

import asyncio
import logging
import socket
from typing import Any

from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import AppWrapper, LifespanState
from starlette.types import ASGIApp

from .settings import HttpLimits

NO_LIMIT = 2**31


class HypercornServer:
    """Accepts on a listening socket from `start` to `stop`."""

    def __init__(self, name: str, app: ASGIApp, bound: socket.socket, limits: HttpLimits) -> None:
        self.name = name
        self._app, self._bound = _wrapped(app), bound
        self._config, self._context = _config(limits), WorkerContext(None)
        self._connections: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        """Accept connections."""
        self._listener = await asyncio.start_server(self._serve, sock=self._bound)

    async def stop(self, grace: float) -> None:
        """Take no more work, let calls finish for `grace` seconds, then cut them."""
        self._listener.close()
        await self._context.terminated.set()
        if self._connections:
            await asyncio.wait(self._connections, timeout=grace)
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=1)
        self._stopped.set()

    async def wait(self) -> None:
        """Return when serving has ended."""
        await self._stopped.wait()

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        state = LifespanState({})
        server = TCPServer(self._app, loop, self._config, self._context, state, reader, writer)
        connection = loop.create_task(server.run())
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)


def _wrapped(app: ASGIApp) -> AppWrapper:
    async def call(scope: Any, receive: Any, send: Any, *_: Any) -> None:
        await app(scope, receive, send)

    return call


def _config(limits: HttpLimits) -> Config:
    config = Config()
    config.errorlog = logging.getLogger("hypercorn.error")  # as an object: no handler is added
    config.include_server_header = False
    config.keep_alive_max_requests = NO_LIMIT  # the end of a count cuts requests under way
    config.keep_alive_timeout = limits.idle_time.total_seconds()
    config.h11_max_incomplete_size = limits.header_size
    config.h2_max_header_list_size = limits.header_size
    config.h2_max_concurrent_streams = limits.streams
    return config
