"""An HTTP transport over TLS that follows its files; httpx2's own keeps what they held at first."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2

from ..tls import Followed
from .grpc_channel import LOOK_AGAIN_S


class SecureTransport(httpx2.AsyncBaseTransport):
    """Each call goes over the newest certificate; those under way end on the one they had."""

    def __init__(self, files: Followed[ssl.SSLContext]) -> None:
        self._files = files
        self._newest = _Shared(files.content)
        self._old: set[_Shared] = set()
        self._look_at = 0.0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        now = asyncio.get_running_loop().time()
        if now >= self._look_at:
            self._look_at = now + LOOK_AGAIN_S
            if self._files.renew():
                await self._replace()
        return await self._newest.handle_async_request(request)

    async def _replace(self) -> None:
        self._old = {each for each in self._old if not each.is_closed}
        old, self._newest = self._newest, _Shared(self._files.content)
        self._old.add(old)
        await old.retire()

    async def aclose(self) -> None:
        for each in (self._newest, *self._old):
            await each.aclose()


class _Shared:
    """Connections that are closed after the last answer, once there are newer ones."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._transport = httpx2.AsyncHTTPTransport(verify=context, trust_env=False)
        self._users, self._is_old = 0, False
        self.is_closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._users += 1
        try:
            response = await self._transport.handle_async_request(request)
        except BaseException:
            await self._leave()
            raise
        response.stream = _Body(response.stream, self._leave)
        return response

    async def retire(self) -> None:
        """Close them as soon as nobody reads an answer from them."""
        self._is_old = True
        await self._close_if_unused()

    async def aclose(self) -> None:
        self.is_closed = True
        await self._transport.aclose()

    async def _leave(self) -> None:
        self._users -= 1
        await self._close_if_unused()

    async def _close_if_unused(self) -> None:
        if self._is_old and self._users == 0:
            await self.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, body: object, leave: Callable[[], Awaitable[None]]) -> None:
        assert isinstance(body, httpx2.AsyncByteStream)
        self._body, self._leave = body, leave

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield part

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            await self._leave()
