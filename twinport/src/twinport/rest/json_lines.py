"""Newline-delimited JSON: read as it arrives, answered line by line while it still arrives."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Self, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ..errors import ResourceExhaustedError, ServiceError
from ..faults.problem import problem
from ..validation import parsed, written
from .contents import LINES

T = TypeVar("T")

LINE_BYTES = 64 * 1024


async def lines(request: Request, kind: type[T]) -> AsyncIterator[T]:
    """Yield a `kind` for each line of the body, empty ones left out.

    Raises InvalidArgumentError, which counts the lines from 0, and ResourceExhaustedError.
    """
    number = 0
    async for line in _split(request.stream()):
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
        async for item in items:
            yield written(item) + b"\n"
    except ServiceError as error:
        yield bytes(problem(error).body) + b"\n"


async def _chained(first: T | None, rest: AsyncIterator[T]) -> AsyncIterator[T]:
    if first is not None:
        yield first
    async for item in rest:
        yield item


async def _split(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    begun = b""  # a line whose end has not arrived
    async for chunk in chunks:
        *ended, begun = (begun + chunk).split(b"\n")
        if len(begun) > LINE_BYTES:
            raise ResourceExhaustedError(f"a line is longer than {LINE_BYTES} bytes")
        for line in ended:
            yield line
    yield begun
