"""The granian server of one port: HTTP/1.1 and HTTP/2, spoken by Rust."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Mapping
from http.client import SERVICE_UNAVAILABLE
from typing import Any

from granian import net
from granian.constants import Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server.embed import Server
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...tls import HttpTlsSettings
from ...tls.check import checked
from ..settings import HttpLimits
from .asyncio_server import HttpServer
from .connections import Connections, answer_empty

LARGE_BYTES = 64 * 1024  # less fits into the buffers on the way


class EndableApp:
    """An application that ends at its client's disconnect, a slow reader, or graceful shutdown."""

    def __init__(self, app: ASGIApp, connections: Connections) -> None:
        self._app, self._connections = app, connections
        self._send_s = connections.limits.send_time.total_seconds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._connections.adopt(handler)
        request = _Request(handler, receive, send, self._send_s)
        try:
            await self._app(scope, request.receive, request.send)
        except asyncio.CancelledError:
            if not request.started:
                await answer_empty(send, SERVICE_UNAVAILABLE)
        finally:
            if request.watcher is not None:
                request.watcher.cancel()
            self._connections.release(handler)


class _Request:
    """One request; while it is answered in parts, a task watches for the client's disconnect."""

    started = _reading = False

    def __init__(
        self, handler: asyncio.Task[Any], receive: Receive, send: Send, send_s: float
    ) -> None:
        self._handler, self._receive, self._send, self._send_s = handler, receive, send, send_s
        self._read: list[Message] = []
        self.watcher: asyncio.Task[None] | None = None

    async def receive(self) -> Message:
        """Hand on what the client has sent."""
        if self.watcher is not None:
            await asyncio.wait([self.watcher])
        if self._read:
            return self._read.pop(0)
        self._reading = True
        try:
            return await self._receive()
        finally:
            self._reading = False

    def send(self, message: Message) -> Awaitable[None]:
        """Hand on a part of the answer; a client that takes none of it is given up."""
        body = message.get("body")
        if body is None:
            self.started = True
        elif len(body) > LARGE_BYTES or message.get("more_body"):
            return self._send_large(message)
        return self._send(message)

    async def _send_large(self, message: Message) -> None:
        self._watch()
        try:
            async with asyncio.timeout(self._send_s):
                await self._send(message)
        except TimeoutError:
            self._handler.cancel()
        await asyncio.sleep(0)  # to a client that has gone, granian sends without any wait

    def _watch(self) -> None:
        if self.watcher is None and not self._reading:
            self.watcher = asyncio.get_running_loop().create_task(self._until_disconnect())

    async def _until_disconnect(self) -> None:
        """Read on up to the disconnect, unless there is a body, which is not ours to read."""
        more_body = False
        while not more_body:
            message = await self._receive()
            self._read.append(message)
            more_body = message.get("more_body", False)
            if message["type"] == "http.disconnect":
                self._handler.cancel()
                return


LINGER_S = 0.3  # granian itself waits for idle HTTP/2 clients to go; they end with the process
BACKLOG = 1024
MS = 1000
SocketHolder: Any = vars(net)["SocketHolder"]  # its stubs leave out what it is made of
NO_HANDLERS: dict[str, Any] = {  # else its logging.config would close those of everybody
    "incremental": True,
    "formatters": {},
    "handlers": {},
    "loggers": {},
}


class GranianServer(HttpServer):
    """Accepts on a listening socket from `start` to `stop`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        tls = _tls(f"{self.name}.tls", self.tls) if self.tls else {}
        app = EndableApp(self.app, self.connections)
        self._server = _Embedded(app, self.bound, self.limits, tls)
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        """Accept connections."""
        self._serving = asyncio.create_task(self._server.serve())
        await asyncio.sleep(0)  # enough for it to begin, as the socket listens already

    async def stop(self, grace: float) -> None:
        """Take no more work, let calls finish for `grace` seconds, then cut them."""
        self._server.end()
        await self.connections.end(grace)
        await asyncio.wait([self._serving], timeout=LINGER_S)
        self._stopped.set()

    async def wait(self) -> None:
        """Return when serving has ended; raises what ended it."""
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait([self._serving, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if self._serving.done():
            self._serving.result()


class _Embedded(Server):
    """Takes a socket that listens already: of its own, a second process could share the port."""

    _shd: Any
    stop: Any

    def __init__(
        self, app: ASGIApp, bound: socket.socket, limits: HttpLimits, tls: Mapping[str, Any]
    ) -> None:
        super().__init__(
            app,
            interface=Interfaces.ASGINL,
            websockets=False,
            backpressure=limits.connections,
            http1_settings=_http1(limits),
            http2_settings=_http2(limits),
            log_level=LogLevels.error,
            log_dictconfig=NO_HANDLERS,
            **tls,
        )
        self._bound = bound

    def end(self) -> None:
        """Take no more connections."""
        self._bound.close()
        self.stop()

    def _init_shared_socket(self) -> None:
        self._shd = SocketHolder(os.dup(self._bound.fileno()), False, BACKLOG)


def _tls(section: str, tls: HttpTlsSettings) -> Mapping[str, Any]:
    """Return how granian names `tls`, whose files it reads once; raises StartupError."""
    checked(section, tls)
    return {
        "ssl_cert": tls.certificate,
        "ssl_key": tls.key,
        "ssl_ca": tls.client_ca,
        "ssl_client_verify": tls.client_ca is not None,
        "ssl_protocol_min": SSLProtocols(f"tls{tls.min_version}"),
    }


def _http1(limits: HttpLimits) -> HTTP1Settings:
    return HTTP1Settings(
        header_read_timeout=round(limits.header_time.total_seconds() * MS),
        max_buffer_size=max(8192, limits.header_size),
    )


def _http2(limits: HttpLimits) -> HTTP2Settings:
    return HTTP2Settings(
        max_concurrent_streams=limits.streams,
        max_headers_size=limits.header_size,
        keep_alive_interval=round(limits.idle_time.total_seconds() * MS),
    )
