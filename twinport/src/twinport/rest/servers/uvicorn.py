"""The uvicorn server of one port: its httptools protocol for HTTP/1.1, bounded."""

import asyncio
import logging
from collections.abc import Awaitable
from email.utils import formatdate
from http.client import BAD_REQUEST, REQUEST_HEADER_FIELDS_TOO_LARGE, SERVICE_UNAVAILABLE
from itertools import chain
from math import inf
from typing import Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from ..settings import HttpLimits
from .connections import (
    LINGER_S,
    AsyncioServer,
    Connections,
    Progress,
    age_s,
    answer_empty,
    log_refusal,
)

Sent = Awaitable[None]  # once: to write it where a function is made costs each request
CLOSE = (b"connection", b"close")
LOGGER = logging.getLogger("uvicorn.error")


def _as_debug(record: logging.LogRecord) -> bool:
    """Log at DEBUG what uvicorn warns of: requests, which are refused or answered all the same."""
    if record.levelno == logging.WARNING:
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return True


class HeadTooLargeError(Exception):
    """Ends the parsing of a request."""


class ClosingProtocol(asyncio.Protocol):
    """Closes a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()


class BoundedProtocol(HttpToolsProtocol):
    """One connection: header size limit (431), keep-alive, age, slow readers, early answers."""

    def __init__(self, connections: Connections, config: Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        limits, now = connections.limits, self.loop.time()
        self._connections, self._limit = connections, limits.header_size
        self._header_s = limits.header_time.total_seconds()
        self._idle_s = limits.idle_time.total_seconds()
        self._due = now + self._header_s  # when it is closed, unless a request comes
        self._old_at = now + age_s(limits)
        self._old = self._discarding = self._may_be_large = False
        self._head_bytes = 0
        self._under_way: RequestResponseCycle | None = None
        self._progress = Progress(limits.send_time.total_seconds())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look after a client."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._connections.join(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._connections.leave(self)
        self._disconnect()
        super().connection_lost(exc)

    def retire(self) -> None:
        """Take no more requests; close as soon as those under way are answered."""
        self.shutdown()

    def abort(self) -> None:
        """Drop the connection with all that is under way."""
        self.transport.abort()

    def check(self, now: float) -> None:
        """Do what is due."""
        waiting = self.transport.get_write_buffer_size()
        if self._progress.stalled(now, -waiting, waiting=waiting > 0):
            self.transport.abort()
        elif now >= self._due:
            self.transport.close()
        elif now >= self._old_at:
            self._old = True

    def data_received(self, data: bytes) -> None:
        """Take what the client sends; a head has its time and its size."""
        if self._discarding:
            return
        if self._due < inf:
            self._due = min(self._due, self.loop.time() + self._header_s)
        self._head_bytes += len(data)
        self._may_be_large = self._head_bytes > self._limit  # also what holds several heads
        super().data_received(data)
        if self._head_bytes > self._limit:
            self._refuse(REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Begin a request; raises HeadTooLargeError."""
        if self._may_be_large and self._head_size() > self._limit:
            self._refuse(REQUEST_HEADER_FIELDS_TOO_LARGE)
            raise HeadTooLargeError
        super().on_headers_complete()
        self._due, self._head_bytes = inf, 0
        if self._old:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; what comes without one are trailers, as large as they like."""
        super().on_body(body)
        self._head_bytes = 0

    def on_response_complete(self) -> None:
        """Wait for the next request, unless the client is still in the midst of this one."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        # As uvicorn does, but for its timer, which would cost each call: `check` looks at the time.
        self.flow.resume_reading()
        self._due, self._head_bytes = self.loop.time() + self._idle_s, 0
        if self.cycle.more_body:
            self._discard()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, unless it has been answered."""
        self._refuse(BAD_REQUEST)

    def _head_size(self) -> int:
        """Count the head alone: what has come may hold a part of the body, or the next request."""
        return sum(map(len, chain.from_iterable(self.headers))) + len(self.url)

    def _refuse(self, status: int) -> None:
        if self._discarding or self.transport.is_closing():
            return
        cycle = self._disconnect()
        if cycle is not None and cycle.response_started:
            self.transport.abort()
            return
        headers = [(b"content-length", b"0"), CLOSE]
        headers += log_refusal(status, self.client) + self.server_state.default_headers
        fields = b"".join(b"%b: %b\r\n" % field for field in headers)
        self.transport.write(STATUS_LINE[status] + fields + b"\r\n")
        self._discard()

    def _discard(self) -> None:
        """Send no more, but let the client finish: closing at once would destroy the answer."""
        self._discarding = True
        self.loop.call_later(LINGER_S, self.transport.close)
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def _disconnect(self) -> RequestResponseCycle | None:
        """Tell the call under way, if any, that its client has gone; uvicorn tells the last one."""
        cycle = self._under_way
        if cycle is None or cycle.response_complete:
            return None
        cycle.disconnected = True
        cycle.message_event.set()
        return cycle

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Run `app` for one request, in a handler that the stop can cut."""
        if cycle.scope["method"] != "HEAD":  # no body follows, with which its head could leave
            cycle.transport = cast(asyncio.Transport, _HeadWithBody(cycle, self.transport))

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            def respond(message: Message) -> Sent:
                if cycle.more_body:
                    cycle.keep_alive = True  # else uvicorn would close, and destroy the answer
                return _cancel(handler) if cycle.disconnected else send(message)

            try:
                await app(scope, receive, respond)
            except asyncio.CancelledError:
                await _end_cut(cycle, send)
            finally:
                self._connections.release(handler)

        self._under_way = cycle
        handler = self.loop.create_task(cycle.run_asgi(cast(Any, answer)))
        self._connections.adopt(handler)


class _HeadWithBody:
    """Writes one answer; a head with content-length leaves in one write with the body's first part.

    ASGI has every server wait for that part. The head of a stream leaves at once all the same, for
    a client may wait for it before it goes on.
    """

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, cycle: RequestResponseCycle, transport: asyncio.Transport) -> None:
        self._cycle, self._transport = cycle, transport
        self._head: bytes | None = None  # empty, once it has left

    def write(self, data: bytes) -> None:
        """Write a part, or keep a head for the next one."""
        if self._head:
            data, self._head = self._head + data, b""
        elif self._head is None and self._cycle.chunked_encoding is False:
            self._head = data
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close the connection when all has left."""
        if self._head:
            self.write(b"")
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Return whether nothing more can be written."""
        return self._transport.is_closing()


async def _cancel(handler: asyncio.Task[None]) -> None:
    """End a handler that still answers, although its client has gone."""
    handler.cancel()
    await asyncio.sleep(0)


async def _end_cut(cycle: RequestResponseCycle, send: Send) -> None:
    """Answer 503 where the handler has been cut, if an answer can still be given."""
    if cycle.response_started or cycle.disconnected:
        cycle.transport.abort()
        await asyncio.sleep(0)
    else:
        await answer_empty(send, SERVICE_UNAVAILABLE, CLOSE)


DATE_S = 1.0


class UvicornServer(AsyncioServer):
    """Accepts on a listening socket from `start` to `stop`.

    uvicorn's own server would leave the process when it cannot start, look for its end every 0.1 s,
    and leave connections behind when the grace is over.
    """

    protocols = ("http/1.1",)

    def __post_init__(self) -> None:
        super().__post_init__()
        LOGGER.addFilter(_as_debug)  # twice is once
        self._config, self._state = _config(self.app, self.limits), ServerState()

    async def listen(self, **options: Any) -> asyncio.Server:
        """Listen with asyncio's create_server."""
        return await asyncio.get_running_loop().create_server(self._protocol, **options)

    async def start(self) -> None:
        """Accept connections."""
        self._tell_date()
        await super().start()

    async def stop(self, grace: float) -> None:
        """Take no more work, let calls finish for `grace` seconds, then cut them."""
        await super().stop(grace)
        self._clock.cancel()

    def _protocol(self) -> asyncio.Protocol:
        if self.connections.full:
            return ClosingProtocol()
        return BoundedProtocol(self.connections, self._config, self._state)

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
    )
    config.load()
    return config
