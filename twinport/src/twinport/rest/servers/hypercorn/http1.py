"""HTTP/1.1 on one connection: keep-alive, pipelining, header size limit (431)."""

import asyncio
import re
from collections.abc import Coroutine
from http.client import REQUEST_HEADER_FIELDS_TOO_LARGE, responses
from typing import Any

import h11
from hypercorn.asyncio.worker_context import EventWrapper
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H2ProtocolAssumedError, H11Protocol

from ..connections import LINGER_S, BoundedWriter, Connections, log_refusal
from .stream import HardenedStream

PRINTABLE = b"!"
NO_MORE = 2**31
AUTHORITY = re.compile(rb"https?://[^/?]*", re.IGNORECASE)
REASONS = {status: phrase.encode() for status, phrase in responses.items()}  # RFC 9112, 4
PREFACE_BEGIN = b"PRI * HTTP/2.0\r\n\r\n"  # what h11 has read of it as a request (RFC 9113, 3.4)


class NoMoreRequestsError(Exception):
    """Ends the wait of a request that the client has sent ahead."""


class PipelineTurn(EventWrapper):
    """Tells a pipelined request, sent ahead, that it may be read, or that it never will be.

    hypercorn's own event leaves it waiting when the answer before it is the last one: such a
    connection never ends.
    """

    _is_over = False

    async def wait(self) -> None:
        """Return when the answer before is sent; raises NoMoreRequestsError."""
        if not self._is_over:
            await super().wait()
        if self._is_over:
            raise NoMoreRequestsError

    async def end(self) -> None:
        """Let nobody wait any more."""
        self._is_over = True
        await self.set()


class StrictH11(h11.Connection):
    """Refuses in a head what h11 lets pass: a bare LF, and a folded header (RFC 9112, 2.2, 5.2)."""

    broken = False

    def next_event(self) -> Any:
        """Return the next event; raises RemoteProtocolError."""
        if self.their_state is h11.IDLE and not _is_strict(self.trailing_data[0]):
            self.broken = True
            raise h11.RemoteProtocolError("a bare LF or a folded header")
        return super().next_event()


def _is_strict(received: bytes) -> bool:
    head = received.partition(b"\r\n\r\n")[0]
    lines = head.split(b"\r\n")
    if head.count(b"\n") >= len(lines):
        return False
    if lines[-1] in {b"", b"\r"}:  # more of the head is to come
        lines.pop()
    return not lines or min(lines) >= PRINTABLE  # a blank and a tab come before all that is printed


class HardenedH1(H11Protocol):
    """HTTP/1.1 without upgrades: HTTP/2 is spoken from the first byte on, or not at all."""

    def __init__(self, *parts: Any, connections: Connections, writer: BoundedWriter) -> None:
        super().__init__(*parts)
        self._connections, self._writer = connections, writer
        self._head = b""  # of an answer, until its body comes or the turn of the loop ends
        self._turn_end: asyncio.Handle | None = None
        largest = self.config.h11_max_incomplete_size
        self.connection = self._http = StrictH11(h11.SERVER, largest)
        self.can_read = self._turn = PipelineTurn()

    def handle(self, event: Event) -> Coroutine[Any, Any, None]:
        """Take what the client has sent, or that it has left; raises NoMoreRequestsError."""
        return self._handle_closed(event) if isinstance(event, Closed) else super().handle(event)

    @property
    def patience_s(self) -> float:
        """How long who is in the middle of a request, or of what is none, may send on."""
        sends_on = self._http.their_state in {h11.SEND_BODY, h11.ERROR} or self._http.broken
        return LINGER_S if sends_on else 0.0

    def retire(self) -> bool:
        """Let the next answer be the last one; return whether one is under way."""
        self.keep_alive_requests = NO_MORE  # hypercorn adds "connection: close" from here on
        return self.stream is not None

    def check(self, now: float) -> None:
        """Nothing waits here that the connection does not know of."""

    async def _send_error_response(self, status_code: int) -> None:
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        headers += log_refusal(status_code, self.client) + self.config.response_headers("h11")
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.EndOfMessage())

    async def _send_h11_event(self, event: Any) -> None:
        """Send a part of an answer, its head together with what follows."""
        try:
            data = self._http.send(event) or b""
        except h11.LocalProtocolError:
            if self._http.their_state is not h11.ERROR:
                raise
            return
        if isinstance(event, h11.Response):
            self._head = _with_reason(data, event.status_code)
            self._turn_end = asyncio.get_running_loop().call_soon(self._push_head)
            return
        data = self._taken_head() + data
        if data:
            await self.send(RawData(data=data))

    def _push_head(self) -> None:
        head = self._taken_head()
        if head:
            self._writer.push(head)

    def _taken_head(self) -> bytes:
        if self._turn_end is not None:
            self._turn_end.cancel()
            self._turn_end = None
        head, self._head = self._head, b""
        return head

    async def _handle_closed(self, closed: Event) -> None:
        await self._turn.end()
        await super().handle(closed)

    async def _maybe_recycle(self) -> None:
        self._push_head()
        await super()._maybe_recycle()
        if self.connection.our_state is not h11.IDLE:
            await self._turn.end()

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.method == b"PRI" and event.target == b"*" and event.http_version == b"2.0":
            raise H2ProtocolAssumedError(PREFACE_BEGIN + self.connection.trailing_data[0])

    async def _create_stream(self, request: h11.Request) -> None:
        headers = list(request.headers)
        size = sum(len(name) + len(value) for name, value in headers) + len(request.target)
        if size > self.config.h11_max_incomplete_size:  # h11 itself counts an incomplete head only
            await self._send_error_response(REQUEST_HEADER_FIELDS_TOO_LARGE)
            await self.send(Closed())
            return
        self.stream = HardenedStream(self, STREAM_ID, self._connections)
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=headers,
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii").upper(),
                raw_path=_path(request.target),
                state=self.connection_state,
            )
        )


def _with_reason(head: bytes, status: int) -> bytes:
    """Return a head with a reason phrase, without which some clients count an answer as failed."""
    return head.replace(b" \r\n", b" %b\r\n" % REASONS.get(status, b""), 1)


def _path(target: bytes) -> bytes:
    """Return path and query, also of what is written as for a proxy (RFC 9112, 3.2.2)."""
    if target.startswith(b"/"):
        return target
    authority = AUTHORITY.match(target)
    if authority is None:
        return target
    path = target[authority.end() :]
    return path if path.startswith(b"/") else b"/" + path
