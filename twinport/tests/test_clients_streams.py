"""Answers over REST that are read part by part keep to their time, and fail as calls do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from fastapi.responses import StreamingResponse

from sample.settings import Settings
from twinport import Service
from twinport.clients.http_client import HttpClient
from twinport.clients.outgoing_call import Outgoing
from twinport.clients.settings import ClientSettings
from twinport.errors import DeadlineExceededError, UnavailableError

SHORT, LONGER = timedelta(milliseconds=200), timedelta(seconds=1)


class News:
    """Says one thing, and then nothing until it breaks off."""

    def __init__(self, settings: Settings, serving: Callable[..., Any]) -> None:
        self._settings, self._serving = settings, serving
        self.breaks_off, self.left = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def read(self, **chosen: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield an answer of which the first part has been read."""
        async with self._serving(self._settings, self._built) as ports:
            url = f"http://127.0.0.1:{ports.http}"
            client = ClientSettings(url=url, **chosen)
            async with self._answer(HttpClient(Outgoing("next", client, ()))) as answer:
                parts = answer.aiter_bytes()
                assert await anext(parts) == b"first"
                yield parts

    @asynccontextmanager
    async def _answer(self, client: HttpClient) -> AsyncIterator[httpx2.Response]:
        async with client, client.stream("GET", "/news") as answer:
            yield answer

    async def _built(self, service: Service, settings: Settings) -> None:
        service.rest.get("/news")(lambda: StreamingResponse(self._parts()))

    async def _parts(self) -> AsyncIterator[bytes]:
        yield b"first"
        try:
            await self.breaks_off.wait()
        finally:
            self.left.set()
        raise ValueError("a bug")


@pytest.fixture
async def news(settings: Settings, serving: Callable[..., Any]) -> News:
    return News(settings, serving)


async def test_a_stream_over_rest_has_a_deadline_of_its_own(news: News):
    loop = asyncio.get_running_loop()
    begun_at = loop.time()
    async with asyncio.timeout(20), news.read(deadline=SHORT, stream_deadline=LONGER) as parts:
        with pytest.raises(DeadlineExceededError, match=r"^next did not answer in time$"):
            await anext(parts)
        assert loop.time() - begun_at > 0.9
        await news.left.wait()


async def test_a_stream_over_rest_that_breaks_off_is_unavailable(news: News):
    async with asyncio.timeout(20), news.read() as parts:
        news.breaks_off.set()
        with pytest.raises(UnavailableError, match=r"^next is not available$"):
            await anext(parts)
