"""Streams over REST: newline-delimited JSON and server-sent events, with their OpenAPI."""

import asyncio
import re
from collections.abc import AsyncIterable, AsyncIterator
from math import inf
from time import monotonic
from typing import Any, Self, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from fastapi.sse import ServerSentEvent
from pydantic import TypeAdapter
from starlette.types import Message, Receive, Scope, Send

from ..calls import EARLY_S, current, expired, expiry
from ..errors import ResourceExhaustedError, ServiceError
from ..faults import problem
from ..validation import parsed, written

LINES = "application/jsonl"
EVENTS = "text/event-stream"


def of_lines(kind: type[Any]) -> dict[str, Any]:
    """Return the content of a body that has a `kind` on each line (application/jsonl).

    For a route's `responses={200: of_lines(Quote)}`, or below `requestBody` in `openapi_extra`.
    """
    return {"content": {LINES: {"schema": TypeAdapter(kind).json_schema()}}}


def of_events(kind: type[Any], token: Any) -> dict[str, Any]:
    """Return the content of server-sent events with a `kind` as data and a `token` as id.

    For a route's `responses={200: of_events(Order, Token)}` (WHATWG HTML, 9.2).
    """
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": TypeAdapter(kind).json_schema(),
    }
    fields = {"id": TypeAdapter(token).json_schema(), "data": data}
    return {"content": {EVENTS: {"schema": {"type": "object", "properties": fields}}}}


T = TypeVar("T")

LINE_BYTES = 64 * 1024
END: Any = object()
TURN_S = 0.005  # how long one stream may keep the loop from everybody else


async def lines(request: Request, kind: type[T]) -> AsyncIterator[T]:
    """Yield a `kind` for each line of the body, empty ones left out.

    Raises InvalidArgumentError, which counts the lines from 0, and ResourceExhaustedError.
    """
    number = 0
    async for line in _in_turns(_split(request.stream())):
        if line.strip():
            yield parsed(kind, line, number)
            number += 1


class LinesResponse(StreamingResponse):
    """Sends dataclasses, a line for each; an error in the midst becomes a problem, the last line.

    It leaves the request to its reader: a StreamingResponse would swallow the rest of it while it
    waits for the caller to hang up, which the reader notices as well.
    """

    media_type = LINES

    def __init__(self, items: AsyncIterable[object], status_code: int = 200) -> None:
        super().__init__(_lines_of(items), status_code)  # FastAPI reads the default for its pages

    @classmethod
    async def of(cls, items: AsyncIterator[object]) -> Self:
        """Wait for the first item, as what is wrong with it can still be the whole answer."""
        first = await anext(items, None)
        return cls(_chained(first, items))

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        await self.stream_response(send)


async def _lines_of(items: AsyncIterable[object]) -> AsyncIterator[bytes]:
    try:
        async for item in _in_turns(_while_known(items)):
            yield written(item) + b"\n"
    except ServiceError as error:
        yield bytes(problem(error).body) + b"\n"


async def _chained(first: T | None, rest: AsyncIterator[T]) -> AsyncIterator[T]:
    if first is not None:
        yield first
    async for item in rest:
        yield item


async def _in_turns(items: AsyncIterable[T]) -> AsyncIterator[T]:
    """Yield the items, and let others have the loop where many of them are there at once.

    Over gRPC each message is waited for; of a burst of lines, and of what a handler has at hand,
    none would be.
    """
    due = monotonic() + TURN_S
    async for item in items:
        yield item
        if monotonic() >= due:
            await asyncio.sleep(0)
            due = monotonic() + TURN_S


def _while_known(items: AsyncIterable[T]) -> AsyncIterable[T]:
    """Return the items until the caller's credentials expire, then UnauthenticatedError."""
    until = expiry(current.get())
    return items if until == inf else _until(until, aiter(items))


async def _until(expiry: float, items: AsyncIterator[T]) -> AsyncIterator[T]:
    while (item := await _next(expiry, items)) is not END:
        yield item


async def _next(expiry: float, items: AsyncIterator[T]) -> T | Any:
    try:
        async with asyncio.timeout_at(expiry) as waiting:
            return await anext(items, END)
    except TimeoutError:
        if not waiting.expired():  # it is the handler's own
            raise
    raise expired()


async def _split(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    begun = b""  # a line whose end has not arrived
    async for chunk in chunks:
        *ended, begun = (begun + chunk).split(b"\n")
        if len(begun) > LINE_BYTES:
            raise ResourceExhaustedError(f"a line is longer than {LINE_BYTES} bytes")
        for line in ended:
            yield line
    yield begun


PROBLEM = "problem"  # the name of the event that an error in the midst becomes
COMMENT = b": ping\n\n"  # keeps a connection open on which nothing happens (WHATWG HTML, 9.2.7)
COMMENT_AFTER_S = 15.0
NO_ID = re.compile(r"[\0\r\n]")
UNBUFFERED = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # the latter for nginx


class EventsResponse(StreamingResponse):
    """Sends dataclasses as server-sent events (SSE); an error in the midst becomes the last one.

    Each comes with the id by which a caller goes on after it; where it is None, the event has
    nothing else. After a while without any there is a comment. Unlike FastAPI's it has no tasks and
    queues of its own, which cost more than all else that an event passes through.
    """

    media_type = EVENTS

    def __init__(
        self, items: AsyncIterable[tuple[object | None, str]], status_code: int = 200
    ) -> None:
        super().__init__(_events_of(items), status_code, UNBUFFERED)

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        kept_alive = _KeptAlive(send)
        try:
            await self.stream_response(kept_alive.send)
        finally:
            kept_alive.end()


async def _events_of(items: AsyncIterable[tuple[object | None, str]]) -> AsyncIterator[bytes]:
    try:
        async for content, token in _in_turns(_while_known(items)):
            yield _event(content, token)
    except ServiceError as error:
        yield b"event: %b\ndata: %b\n\n" % (PROBLEM.encode(), bytes(problem(error).body))


def _event(content: object | None, token: str) -> bytes:
    """Return an event; JSON on one line needs no more than one line of data."""
    if NO_ID.search(token):
        raise ValueError("the id of an event has to be one line")
    data = b"" if content is None else b"data: %b\n" % written(content)
    return b"%bid: %b\n\n" % (data, token.encode())


class _KeptAlive:
    """Sends a comment when nothing has been sent for a while and nothing waits for its reader.

    An event waits until a comment is through: a server may hand on a part in several.
    """

    __slots__ = ("_comment", "_is_sending", "_loop", "_send", "_sent_at", "_timer")

    def __init__(self, send: Send) -> None:
        self._send, self._loop = send, asyncio.get_running_loop()
        self._is_sending = False
        self._sent_at = self._loop.time()
        self._comment: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(COMMENT_AFTER_S, self._look)

    async def send(self, message: Message) -> None:
        """Hand on a part of the answer."""
        if self._comment is not None:
            await self._comment
        self._is_sending = True
        await self._send(message)
        self._is_sending, self._sent_at = False, self._loop.time()

    def end(self) -> None:
        """Send no more comments."""
        self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()

    def _look(self) -> None:
        wait_s = self._sent_at + COMMENT_AFTER_S - self._loop.time()
        if wait_s <= EARLY_S:
            wait_s = COMMENT_AFTER_S
            self._comment_unless_busy()
        self._timer = self._loop.call_later(wait_s, self._look)

    def _comment_unless_busy(self) -> None:
        if not self._is_sending and self._comment is None:
            self._comment = self._loop.create_task(self._send_comment())

    async def _send_comment(self) -> None:
        await self._send({"type": "http.response.body", "body": COMMENT, "more_body": True})
        self._comment = None


async def events(items: AsyncIterable[tuple[object | None, str]]) -> AsyncIterator[ServerSentEvent]:
    """Yield what EventsResponse sends, for an EventSourceResponse of FastAPI."""
    try:
        async for content, token in _in_turns(_while_known(items)):
            data = None if content is None else written(content).decode()
            yield ServerSentEvent(id=token, raw_data=data)
    except ServiceError as error:
        yield ServerSentEvent(event=PROBLEM, raw_data=bytes(problem(error).body).decode())
