"""The body of a request: how much of it is read, and how long that may take."""

import asyncio
from collections.abc import Awaitable
from http.client import REQUEST_ENTITY_TOO_LARGE, REQUEST_TIMEOUT

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from ..faults import refusal
from .settings import HttpLimits


class Body:
    """Counts and times what the application reads; a stream is only timed, part by part."""

    answered = False
    refusal: HTTPException | None = None
    _size, _until, _ended = 0, 0.0, False

    def __init__(self, limits: HttpLimits, receive: Receive, send: Send, *, stream: bool) -> None:
        self._limits, self._receive, self._send, self._stream = limits, receive, send, stream

    async def take(self) -> Message:
        """Hand on the next part; raises HTTPException, which is the refusal."""
        if self._ended:  # what follows may take as long as it likes
            return await self._receive()
        self._until = self._until or self._deadline()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            self.refusal = HTTPException(REQUEST_TIMEOUT, "the body did not come in time")
            raise self.refusal from None
        self._ended = not message.get("more_body", False)
        self._count(len(message.get("body", b"")))
        return message

    def _count(self, size: int) -> None:
        if self._stream:
            self._until = 0.0
            return
        self._size += size
        if self._size > self._limits.body_size:
            self.refusal = too_large(self._limits)
            raise self.refusal

    def answer(self, message: Message) -> Awaitable[None]:
        """Hand on a part of the answer, but none to a request that was refused."""
        if self.refusal is not None and not self.answered:
            return _nothing()
        self.answered = True
        return self._send(message)

    async def refuse(self, scope: Scope) -> None:
        """Answer the refusal."""
        assert self.refusal is not None
        answer = refusal(self.refusal)
        if scope["http_version"].startswith("1"):
            answer.headers["connection"] = "close"  # the rest of the body is not read
        await answer(scope, self._receive, self._send)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._limits.body_time.total_seconds()


def too_large(limits: HttpLimits) -> HTTPException:
    """Return what is said to a body without end."""
    detail = f"the body is larger than {limits.body_size} bytes"
    return HTTPException(REQUEST_ENTITY_TOO_LARGE, detail)


async def _nothing() -> None:
    """Drop what answers a request that has been refused."""
