"""The hypercorn server of one port."""

import asyncio
import logging
import socket
from functools import partial

from hypercorn.config import Config
from starlette.types import ASGIApp

from ....tls import HttpTlsSettings
from ...settings import HttpLimits
from ..connections import Connections, Listening
from .connection import Connection, Listener

PROTOCOLS = ["h2", "http/1.1"]  # in the order that the port prefers


class HypercornServer:
    """Accepts on a listening socket from `start` to `stop`."""

    def __init__(
        self,
        name: str,
        app: ASGIApp,
        bound: socket.socket,
        limits: HttpLimits,
        tls: HttpTlsSettings | None = None,
    ) -> None:
        self.name = name
        self._listening = Listening(name, bound, limits, tls, PROTOCOLS)
        self._connections = Connections(limits)
        self._listener = Listener(app, _config(limits), limits, self._connections)

    async def start(self) -> None:
        """Accept connections."""
        await self._listening.start(partial(asyncio.start_server, self._accept))
        self._watch = asyncio.create_task(self._connections.watch())

    async def stop(self, grace: float) -> None:
        """Take no more work, let calls finish for `grace` seconds, then cut them."""
        self._listening.close()
        await self._listener.context.terminated.set()
        await self._connections.end(grace)
        self._watch.cancel()

    async def wait(self) -> None:
        """Return when serving has ended; raises what ended it."""
        await asyncio.wait([self._watch])
        if not self._watch.cancelled():
            self._watch.result()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections.full:
            writer.transport.abort()
            return
        connection = Connection(self._listener, reader, writer)
        connection.tasks.spawn(connection.run)


def _config(limits: HttpLimits) -> Config:
    config = Config()
    config.errorlog = logging.getLogger("hypercorn.error")  # as an object: no handler is added
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.header_size
    return config
