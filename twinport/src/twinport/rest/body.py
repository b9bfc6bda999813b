"""The body of a request: how much of it is read, and how long that may take."""

import asyncio
from collections.abc import Mapping
from http.client import REQUEST_ENTITY_TOO_LARGE, REQUEST_TIMEOUT
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from .contents import LINES
from .settings import HttpLimits

Scope = Mapping[str, Any]  # ASGI's, to read

LENGTH, TYPE = b"content-length", b"content-type"


class Body:
    """Counts and times what is read; a stream is only timed, part by part."""

    _size, _until, _ended = 0, 0.0, False

    def __init__(self, limits: HttpLimits, scope: Scope, receive: Receive) -> None:
        self._limits, self._scope, self._receive = limits, scope, receive
        self._is_stream = _is_stream(dict(scope["headers"]))

    async def take(self) -> Message:
        """Hand on the next part; raises HTTPException, which is to be the answer."""
        if self._ended:  # what follows may take as long as it likes
            return await self._receive()
        self._until = self._until or self._deadline()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise unread(self._scope, REQUEST_TIMEOUT, "the body did not come in time") from None
        self._ended = not message.get("more_body", False)
        self._count(len(message.get("body", b"")))
        return message

    def _count(self, size: int) -> None:
        if self._is_stream:
            self._until = 0.0
            return
        self._size += size
        if self._size > self._limits.body_size:
            raise too_large(self._scope, self._limits)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._limits.body_time.total_seconds()


def too_large(scope: Scope, limits: HttpLimits) -> HTTPException:
    """Return what is said to a body without end."""
    detail = f"the body is larger than {limits.body_size} bytes"
    return unread(scope, REQUEST_ENTITY_TOO_LARGE, detail)


def unread(scope: Scope, status: int, detail: str) -> HTTPException:
    """Return a refusal of a request whose body is not read to its end."""
    is_http1 = scope["http_version"].startswith("1")
    close = {"connection": "close"} if is_http1 else None
    return HTTPException(status, detail, close)


def _is_stream(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether it is read line by line, and has no end that anybody knows yet."""
    return headers.get(TYPE, b"").startswith(LINES.encode()) and LENGTH not in headers
