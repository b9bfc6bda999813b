"""One HTTP request and its answer: body size limit, request timeout, deadline, disconnect."""

import asyncio
from collections.abc import Awaitable, Mapping
from http.client import REQUEST_ENTITY_TOO_LARGE, REQUEST_TIMEOUT
from math import inf
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Send

from ..calls import EARLY_S, REQUEST_ID, TRACE_ID, Call, Edge, expired, expiry, time_for
from ..errors import (
    CLIENT_CLOSED_REQUEST,
    FIRST_ERROR,
    DeadlineExceededError,
    OverloadedError,
    ServiceError,
    code_of,
)
from .settings import HttpLimits
from .streams import LINES

TRACE_ID_NAME, REQUEST_ID_NAME = TRACE_ID.encode(), REQUEST_ID.encode()
LENGTH, TYPE = b"content-length", b"content-type"
STREAM_TYPE = LINES.encode()
LAST_WORD_S = 1.0  # for a stream to say that its caller is not known any more
WATCH_AFTER_S = 0.05  # a shorter call ends before anybody could notice that its caller has gone
BODILESS = frozenset({204, 304})

Scope = Mapping[str, Any]  # ASGI's, to read
Head = Mapping[bytes, bytes]  # its headers; of several with one name the last


class BoundedBody:
    """Bounds the body of a request: its size (413) and its time (408); of a stream, each part's."""

    _size, _due, _ended = 0, 0.0, False

    def __init__(self, limits: HttpLimits, scope: Scope, head: Head, receive: Receive) -> None:
        self._limits, self._scope, self._head, self._receive = limits, scope, head, receive

    async def receive(self) -> Message:
        """Hand on the next part; raises HTTPException, which is to be the answer."""
        if self._ended:  # what follows may take as long as it likes
            return await self._receive()
        if not self._due:
            now = asyncio.get_running_loop().time()
            self._due = now + self._limits.body_time.total_seconds()
        try:
            async with asyncio.timeout_at(self._due):
                message = await self._next()
        except TimeoutError:
            raise unread(self._scope, REQUEST_TIMEOUT, "the body did not come in time") from None
        self._ended = _is_last(message)
        self._count(len(message.get("body", b"")))
        return message

    def _next(self) -> Awaitable[Message]:
        return self._receive()

    def _count(self, size: int) -> None:
        if _is_stream(self._head):
            self._due = 0.0
            return
        self._size += size
        if self._size > self._limits.body_size:
            raise too_large(self._scope, self._limits)


class Exchange(BoundedBody):
    """One request between server and application; cancels the task that answers it.

    That happens when the deadline has passed (`late`), or at the caller's disconnect (`gone`). Once
    the answer has been handed on, nobody waits for it: work in the background goes on. A body, or a
    stream, that is too much is a `refusal`: that is the answer then, whatever the application says.
    """

    call: Call
    started = gone = late = False
    refusal: HTTPException | OverloadedError | None = None
    _reading = _watching = _over = False
    _until = inf
    _task: asyncio.Task[Any] | None = None
    _ahead: asyncio.Future[Message] | None = None  # reads a part of the body that nobody asked for
    _disconnect: asyncio.Future[Message] | None = None  # reads until the disconnect

    def open(self, call: Call, edge: Edge, send: Send, timeout: str | None) -> None:
        """Begin the call in the current task; raises InvalidArgumentError or OverloadedError.

        `timeout` is the header grpc-timeout, by which a caller shortens the deadline.
        """
        self.call, self._edge, self._send = call, edge, send
        seconds, loop = time_for(timeout, edge.timeout), asyncio.get_running_loop()
        self._task, now = asyncio.current_task(loop), loop.time()
        call.deadline = self._until = now + seconds
        edge.alarm.set(self, now + (WATCH_AFTER_S if seconds > WATCH_AFTER_S else seconds))
        edge.gate.admit(call)

    def close(self) -> None:
        """Stop watching the caller, and note how the call has ended."""
        self._over, call = True, self.call
        call.route = getattr(self._scope.get("route"), "path", None)
        if call.code == "OK" and not 0 < call.status < FIRST_ERROR:  # nobody has named one
            call.code = code_of(call.status or CLIENT_CLOSED_REQUEST)
        self._edge.alarm.unset(self)
        if self._ahead is not None:
            self._ahead.cancel()
        if self._disconnect is not None:
            self._disconnect.cancel()

    async def receive(self) -> Message:
        """Hand on the next part of the body, then what tells that the caller has gone.

        Raises HTTPException for what is too much, or too slow.
        """
        if self._ended:
            return await asyncio.shield(self._until_disconnect())
        try:
            return await super().receive()
        except HTTPException as refusal:
            self.refusal = refusal
            raise

    async def _next(self) -> Message:
        self._reading = True
        message = await (asyncio.shield(self._ahead) if self._ahead else self._receive())
        self._ahead, self._reading = None, False
        self.call.received_bytes += len(message.get("body", b""))
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Hand on a part of the answer; raises OverloadedError for one stream too many."""
        if self.refusal is not None and not self.started:
            return _nothing()
        if message["type"] == "http.response.start":
            self._start(message)
        else:
            self.call.sent_bytes += len(message.get("body", b""))
            if not message.get("more_body"):
                self._over, self._until, self.call.deadline = True, inf, None
        return self._send(message)

    def _start(self, message: Message) -> None:
        call, headers = self.call, message.get("headers", ())
        is_open_ended = LENGTH not in dict(headers) and call.method != "HEAD"
        if is_open_ended and message["status"] not in BODILESS:
            self._admit_stream()
            self._until, call.deadline = inf, None
            self._end_with(expiry(call))
        self.started = True
        call.status = message["status"]
        message["headers"] = [*headers, *id_headers(call)]

    def _admit_stream(self) -> None:
        """Raise what is the answer then, too: a framework takes the one that fails for begun."""
        try:
            self._edge.gate.admit_stream(self.call)
        except OverloadedError as refusal:
            self.refusal = refusal
            raise

    def _end_with(self, expiry: float) -> None:
        """End the stream soon after what its caller is known by."""
        if expiry == inf:
            return
        self._until = expiry + LAST_WORD_S
        look = inf if self._watching else asyncio.get_running_loop().time() + WATCH_AFTER_S
        self._edge.alarm.set(self, min(self._until, look))

    def late_error(self) -> ServiceError:
        """Return why the time of the call is over."""
        if self.started and self.call.deadline is None:
            return expired()
        return DeadlineExceededError("not answered in time")

    def uncancel_own(self) -> bool:
        """Tell whether only the deadline or the disconnect has cancelled, and take that back."""
        return (self.late or self.gone) and self._uncancel()

    def uncancel_stop(self) -> bool:
        """Tell whether there is time for an answer after the stop has cancelled, and take back."""
        return not self.started and self._uncancel()

    def _uncancel(self) -> bool:
        return self._task is not None and self._task.uncancel() == 0

    def wake(self) -> None:
        """End the call if its deadline has passed, else see whether its caller is still there."""
        if asyncio.get_running_loop().time() >= self._until - EARLY_S:
            self._cancel(late=True)
        elif not (self._watching or self._over):
            self._watch()

    def _watch(self) -> None:
        """Cancel the call when its caller hangs up, also where nobody reads the body."""
        again = inf
        if self._ended:
            self._watch_for_disconnect()
        elif self._reading or self._ahead:  # whoever reads hears of it
            again = asyncio.get_running_loop().time() + WATCH_AFTER_S
        else:
            self._ahead = asyncio.ensure_future(self._receive())
            self._ahead.add_done_callback(self._check_ahead)
        self._edge.alarm.set(self, min(self._until, again))

    def _watch_for_disconnect(self) -> None:
        self._watching = True
        self._until_disconnect().add_done_callback(self._end_gone)

    def _check_ahead(self, ahead: asyncio.Future[Message]) -> None:
        """See whether the part of the body that came before anybody asked for it is one."""
        if ahead.cancelled() or ahead.exception() or self._over:
            return
        if ahead.result()["type"] == "http.disconnect":
            self._end_gone(ahead)
        elif _is_last(ahead.result()):
            self._watch_for_disconnect()
        else:
            self._watch()

    def _until_disconnect(self) -> asyncio.Future[Message]:
        if self._disconnect is None:
            self._disconnect = asyncio.ensure_future(self._receive())
        return self._disconnect

    def _end_gone(self, disconnect: asyncio.Future[Message]) -> None:
        if not (disconnect.cancelled() or self._over):
            self._cancel(late=False)

    def _cancel(self, *, late: bool) -> None:
        if self._task is not None and not (self.late or self.gone):
            self.late, self.gone = late, not late
            self._task.cancel()


async def _nothing() -> None:
    """Drop what answers a request that has been refused."""


def _is_last(message: Message) -> bool:
    return not message.get("more_body", False)


def _is_stream(head: Head) -> bool:
    """Tell whether the body is read line by line, and has no end that anybody knows yet."""
    return head.get(TYPE, b"").startswith(STREAM_TYPE) and LENGTH not in head


def too_large(scope: Scope, limits: HttpLimits) -> HTTPException:
    """Return what is said to a body over the size limit."""
    detail = f"the body is larger than {limits.body_size} bytes"
    return unread(scope, REQUEST_ENTITY_TOO_LARGE, detail)


def unread(
    scope: Scope, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> HTTPException:
    """Return a refusal of a request whose body is not read to its end."""
    close = {} if scope["http_version"] == "2" else {"connection": "close"}
    return HTTPException(status, detail, {**close, **(headers or {})})


def id_headers(call: Call) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """Return the headers that every answer has."""
    return (
        (TRACE_ID_NAME, call.trace_id.encode()),
        (REQUEST_ID_NAME, call.request_id.encode()),
    )


def peer_of(client: tuple[str, int] | None) -> str:
    """Return `host:port` of a client as ASGI has it; empty if there is none."""
    return f"{client[0]}:{client[1]}" if client else ""
