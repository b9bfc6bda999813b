"""HTTP/1.1 as uvicorn speaks it with httptools, within bounds."""

import asyncio
from http.client import BAD_REQUEST, REQUEST_HEADER_FIELDS_TOO_LARGE
from itertools import chain
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from .connections import Connections, age_s
from .cycle import start
from .progress import NEVER, Progress
from .refused import refused

LINGER_S = 1.0  # for a client to read its answer before the connection is cut (RFC 9112, 9.6)


class HeadTooLargeError(Exception):
    """Ends the parsing of a request."""


class Refusal(asyncio.Protocol):
    """Closes a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()


class BoundedProtocol(HttpToolsProtocol):
    """One client: how much it may send, and how long it may take."""

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
        if self._due < NEVER:
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
        self._due, self._head_bytes = NEVER, 0
        if self._old:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; what comes without one are trailers, as large as they like."""
        super().on_body(body)
        self._head_bytes = 0

    def on_response_complete(self) -> None:
        """Wait for the next request, unless the client is still in the midst of this one."""
        last, unread = not self.pipeline, self.cycle.more_body
        super().on_response_complete()
        if last:
            self._due, self._head_bytes = self.loop.time() + self._idle_s, 0
        if last and unread:
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
        if self._gives_up_answer():
            self.transport.abort()
            return
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        headers += refused(status, self.client) + self.server_state.default_headers
        fields = b"".join(b"%b: %b\r\n" % field for field in headers)
        self.transport.write(STATUS_LINE[status] + fields + b"\r\n")
        self._discard()

    def _gives_up_answer(self) -> bool:
        """End a call under way as if its client had gone; return whether its answer has begun."""
        cycle = self._disconnect()
        return cycle is not None and cycle.response_started

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
        self._under_way = cycle
        start(app, cycle, self._connections)
