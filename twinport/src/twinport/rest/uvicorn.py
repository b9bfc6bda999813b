"""Serves an application with uvicorn's protocol: HTTP/1.1 only."""

import asyncio
import socket
from email.utils import formatdate
from functools import partial
from math import ceil

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from ..tls import HttpTlsSettings
from .connections import Connections
from .httptools import BoundedProtocol, Refusal
from .listening import Listening
from .settings import HttpLimits

PROTOCOLS = ["http/1.1"]
DATE_S = 1.0


class UvicornServer:
    """Accepts on a listening socket from `start` to `stop`.

    uvicorn's own server would leave the process when it cannot start, look for its end every 0.1 s,
    and leave connections behind when the grace is over.
    """

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
        self._config, self._state = _config(app, limits), ServerState()
        self._connections = Connections(limits)

    async def start(self) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        self._tell_date()
        await self._listening.start(partial(loop.create_server, self._protocol))
        self._watch = asyncio.create_task(self._connections.watch())

    async def stop(self, grace: float) -> None:
        """Take no more work, let calls finish for `grace` seconds, then cut them."""
        self._listening.close()
        await self._connections.end(grace)
        self._watch.cancel()
        self._clock.cancel()

    async def wait(self) -> None:
        """Return when serving has ended; raises what ended it."""
        await asyncio.wait([self._watch])
        if not self._watch.cancelled():
            self._watch.result()

    def _protocol(self) -> asyncio.Protocol:
        if self._connections.full:
            return Refusal()
        return BoundedProtocol(self._connections, self._config, self._state)

    def _tell_date(self) -> None:
        """Renew the date that every answer carries (RFC 9110, 6.6.1)."""
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._clock = asyncio.get_running_loop().call_later(DATE_S, self._tell_date)


def _config(app: ASGIApp, limits: HttpLimits) -> Config:
    config = Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=ceil(limits.idle_time.total_seconds()),
    )
    config.load()
    return config
