"""Bounds of a request that every server needs: they stand between the edge and the framework."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    ResourceExhaustedError,
    ServiceError,
    UnimplementedError,
)
from ..faults import problem
from .settings import HttpLimits

STREAM = b"application/jsonl"  # read and answered line by line, for as long as both sides like


class ContentTooLargeError(ResourceExhaustedError):
    """The body of a request is larger than `http.limits.body_size`."""

    status = 413


class RequestTimeoutError(DeadlineExceededError):
    """The body of a request was not there within `http.limits.body_time`."""

    status = 408


class NoTunnelError(UnimplementedError):
    """CONNECT asks for a tunnel, and this is no proxy."""

    status = 405


def fenced(app: ASGIApp, limits: HttpLimits) -> ASGIApp:
    """Return `app` behind the bounds of `limits`; a refusal is answered as a problem."""

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        head = _framing(scope["headers"])
        body = _Body(limits, receive, send, stream=head.stream)
        body.refusal = _refusal(scope["method"], head, limits.body_size)
        if body.refusal is None:
            await body.read_by(app, scope)
        if body.refusal is not None and not body.answered:
            await _answer(body.refusal, scope, receive, send)

    return bounded


class _Framing(NamedTuple):
    """How the body of a request is marked off; a stream has no end that anybody knows yet."""

    length: int | None
    coded: bool
    stream: bool


class _Body:
    """Counts and times what the application reads: the whole body, or each part of a stream."""

    __slots__ = (
        "_ended",
        "_limits",
        "_receive",
        "_send",
        "_size",
        "_stream",
        "_until",
        "answered",
        "refusal",
    )

    def __init__(self, limits: HttpLimits, receive: Receive, send: Send, *, stream: bool) -> None:
        self._limits, self._receive, self._send, self._stream = limits, receive, send, stream
        self._size, self._until, self._ended = 0, 0.0, False
        self.answered = False
        self.refusal: ServiceError | None = None

    async def read_by(self, app: ASGIApp, scope: Scope) -> None:
        """Run `app`; what it makes of our own refusal is of no interest."""
        try:
            await app(scope, self._take, self._answer)
        except ServiceError as error:
            if error is not self.refusal:
                raise

    async def _take(self) -> Message:
        if self._ended:  # what follows may take as long as it likes
            return await self._receive()
        self._until = self._until or self._deadline()
        try:
            async with asyncio.timeout_at(self._until):
                return self._counted(await self._receive())
        except TimeoutError:
            self.refusal = RequestTimeoutError("the body did not come in time")
            raise self.refusal from None

    def _counted(self, message: Message) -> Message:
        size = len(message.get("body", b""))
        if self._stream:
            self._size, self._until = size, 0.0
        else:
            self._size += size
        if self._size > self._limits.body_size:
            self.refusal = _too_large(self._limits.body_size)
            raise self.refusal
        self._ended = not message.get("more_body", False)
        return message

    def _answer(self, message: Message) -> Awaitable[None]:
        if self.refusal is not None and not self.answered:
            return _nothing()
        self.answered = True
        return self._send(message)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._limits.body_time.total_seconds()


def _refusal(method: str, head: _Framing, largest: int) -> ServiceError | None:
    """Return what is wrong with a request before anything of its body is read."""
    if method == "CONNECT":
        return NoTunnelError("this is not a proxy")
    if head.length is None:
        return None
    if head.coded:  # RFC 9112, 6.1: an attempt to hide a second request
        return InvalidArgumentError("both content-length and transfer-encoding")
    return _too_large(largest) if head.length > largest else None


def _framing(headers: Iterable[tuple[bytes, bytes]]) -> _Framing:
    length, coded, stream = None, False, False
    for name, value in headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            coded = True
        elif name == b"content-type":
            stream = value.startswith(STREAM)
    return _Framing(length, coded, stream and length is None)


def _too_large(largest: int) -> ServiceError:
    return ContentTooLargeError(f"the body is larger than {largest} bytes")


async def _answer(error: ServiceError, scope: Scope, receive: Receive, send: Send) -> None:
    answer = problem(error)
    if scope["http_version"].startswith("1"):
        answer.headers["connection"] = "close"  # the rest of the body is not read
    await answer(scope, receive, send)


async def _nothing() -> None:
    """Drop what answers a request that has been refused."""
