"""Bodies of HTTP calls to another service, counted as they pass: streamed ones included."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import httpx

from .call import ClientCall

CALL = "client_call"  # among the extensions of a request
InTime = Callable[[], AbstractAsyncContextManager[None]]
Body: TypeAlias = httpx.SyncByteStream | httpx.AsyncByteStream


class CountingTransport(httpx.AsyncBaseTransport):
    """Adds both bodies of each attempt to the call that the request belongs to."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call: ClientCall | None = request.extensions.get(CALL)
        if call is None:  # what an httpx.Auth asks for itself, as a token
            return await self._transport.handle_async_request(request)
        body = request.stream
        request.stream = _Counted(body, call.has_sent)
        try:
            response = await self._transport.handle_async_request(request)
        finally:
            request.stream = body  # for the next attempt
        response.stream = _Counted(response.stream, call.has_received)
        return response

    async def aclose(self) -> None:
        await self._transport.aclose()


class Streamed(httpx.AsyncByteStream):
    """The body of an answer that is read when `send` has returned; httpx reads and closes once."""

    def __init__(self, body: Body, in_time: InTime, end: Callable[[], None]) -> None:
        assert isinstance(body, httpx.AsyncByteStream)  # httpx has refused any other
        self._body, self._in_time, self._end = body, in_time, end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = aiter(self._body)
        while True:
            async with self._in_time():
                part = await anext(parts, None)
            if part is None:
                return
            yield part

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            self._end()


class _Counted(httpx.AsyncByteStream):
    def __init__(self, body: Body, count: Callable[[int], None]) -> None:
        assert isinstance(body, httpx.AsyncByteStream)
        self._body, self._count = body, count

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            self._count(len(part))
            yield part

    async def aclose(self) -> None:
        await self._body.aclose()
