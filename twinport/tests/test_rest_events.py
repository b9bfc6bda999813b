"""Server-sent events: the same bytes as FastAPI's, comments that keep them alive, their ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.types import Message

from sample.app import build
from sample.settings import Settings
from twinport import NotFoundError, Service, testing
from twinport.rest import EventsResponse, LinesResponse, events, streams
from twinport.testing import LocalService

from support.wire import TIMEOUT_S, Wire

SERVERS = ["hypercorn", "uvicorn", "granian"]
SOON_S = 0.02  # instead of 15 s
END: Message = {"type": "http.response.body", "body": b"", "more_body": False}

Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class News:
    """What has happened."""

    text: str
    parts: tuple[int, ...] = ()


SOME = [
    (None, "0"),
    (News("tea\r\n\0é\u2028"), "1"),
    (News("", (1, 2)), "é"),
    (News("x" * 9999), ""),
]


async def some(fails: bool = False) -> AsyncIterator[tuple[News | None, str]]:
    for each in SOME:
        yield each
    if fails:
        raise NotFoundError("sold\nout")


class Watches:
    """Routes with events that the test sends, and whether they have been closed."""

    def __init__(self) -> None:
        self.news = asyncio.Queue[tuple[News | None, str]]()
        self.closed = asyncio.Event()

    async def build(self, service: Service, settings: Settings) -> None:
        await build(service, settings)

        @service.rest.get("/ours")
        async def ours(fails: bool = False) -> EventsResponse:
            return EventsResponse(some(fails))

        @service.rest.get("/theirs", response_class=EventSourceResponse)
        async def theirs(fails: bool = False) -> AsyncIterator[ServerSentEvent]:
            async for event in events(some(fails)):
                yield event

        @service.rest.get("/watch")
        async def watch() -> EventsResponse:
            return EventsResponse(self.watch())

    async def watch(self) -> AsyncIterator[tuple[News | None, str]]:
        try:
            while True:
                yield await self.news.get()
        finally:
            self.closed.set()


@pytest.fixture
async def watches() -> Watches:
    return Watches()


@pytest.fixture(params=SERVERS)
async def served(request: Any, watches: Watches) -> AsyncIterator[LocalService]:
    settings = testing.free(Settings, {"http.server": request.param})
    async with testing.serving(settings, watches.build) as service:
        yield service


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "COMMENT_AFTER_S", SOON_S)


@asynccontextmanager
async def watching(service: LocalService, path: str = "/watch") -> AsyncIterator[Wire]:
    async with Wire.open(service.ports.http) as wire:
        wire.send(b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % path.encode())
        assert b" 200 " in await wire.until(b"\r\n\r\n")
        yield wire


@pytest.mark.parametrize("fails", [False, True])
async def test_the_bytes_are_those_of_fastapi(served: LocalService, fails: bool):
    ours, theirs = [
        await served.rest.get(path, params={"fails": fails}) for path in ("/ours", "/theirs")
    ]
    own = {"date", "x-trace-id", "x-request-id"}
    heads = [
        [(name, value) for name, value in answer.headers.multi_items() if name not in own]
        for answer in (ours, theirs)
    ]
    assert sorted(heads[0]) == sorted(heads[1])
    trace_ids = [answer.headers["x-trace-id"].encode() for answer in (ours, theirs)]
    assert ours.content.replace(*trace_ids) == theirs.content
    assert (b"event: problem\ndata: {" in ours.content) is fails


async def test_the_document_is_that_of_fastapi(served: LocalService):
    paths = (await served.rest.get("/openapi.json")).json()["paths"]
    content = paths["/v1/orders:watch"]["get"]["responses"]["200"]["content"]
    assert list(content) == ["text/event-stream"]
    assert list(content["text/event-stream"]["schema"]["properties"]) == ["id", "data"]


async def test_a_stream_without_news_is_kept_alive_and_goes_on(soon, served, watches):
    async with watching(served) as wire:
        for _ in range(3):
            await wire.until(b": ping\n\n")
        watches.news.put_nowait((News("tea"), "1"))
        await wire.until(b'data: {"text":"tea","parts":[]}\nid: 1\n\n')
        await wire.until(b": ping\n\n")


@pytest.mark.parametrize("begun", [False, True], ids=["at once", "after an event"])
async def test_a_caller_who_leaves_ends_what_makes_the_events(served, watches, begun: bool):
    async with watching(served) as wire:
        if begun:
            watches.news.put_nowait((None, "1"))
            await wire.until(b"id: 1\n\n")
    async with asyncio.timeout(TIMEOUT_S):
        await watches.closed.wait()
    [call] = await served.ended_calls()
    assert (call.code, call.error) == ("CANCELLED", None)


async def test_an_id_that_would_be_more_than_a_line_is_no_event(served, watches):
    async with watching(served) as wire:
        watches.news.put_nowait((None, "1\n\ndata: 2"))
        assert b"2" not in await wire.reader.read(-1)
    [call] = await served.ended_calls()
    assert (call.code, type(call.error)) == ("INTERNAL", ValueError)


class Pipe:
    """An ASGI `send` that keeps what is sent, and can be slow."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.taken = asyncio.Event()
        self.begun = asyncio.Semaphore(0)
        self.is_slow = False

    async def send(self, message: Message) -> None:
        self.sent.append(message.get("body", b"head"))
        self.begun.release()
        if self.is_slow:
            await self.taken.wait()
            self.sent.append(b"taken")

    async def has_begun(self, times: int) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            for _ in range(times):
                await self.begun.acquire()


@asynccontextmanager
async def answering(items: AsyncIterator[Any], pipe: Pipe) -> AsyncIterator[None]:
    scope: Any = {"type": "http"}
    answer = asyncio.create_task(EventsResponse(items)(scope, nothing, pipe.send))
    try:
        yield
    finally:
        answer.cancel()
        await asyncio.wait([answer])


async def nothing() -> Message:
    await asyncio.Event().wait()
    return END


async def test_no_comment_joins_an_event_that_waits_for_its_reader(soon, watches):
    stalled, idle = Pipe(), Pipe()
    async with answering(watches.watch(), stalled), answering(Watches().watch(), idle):
        await stalled.has_begun(1)
        stalled.is_slow = True
        watches.news.put_nowait((None, "1"))
        await stalled.has_begun(1)
        await idle.has_begun(4)  # meanwhile
        stalled.taken.set()
        await stalled.has_begun(1)
    assert stalled.sent[:3] == [b"head", b"id: 1\n\n", b"taken"]


async def test_an_event_waits_for_the_comment_before_it(soon, watches):
    pipe, idle = Pipe(), Pipe()
    async with answering(watches.watch(), pipe), answering(Watches().watch(), idle):
        await pipe.has_begun(1)
        pipe.is_slow = True
        await pipe.has_begun(1)
        watches.news.put_nowait((None, "1"))
        await idle.has_begun(4)  # meanwhile
        pipe.taken.set()
        await pipe.has_begun(1)
    assert pipe.sent[:4] == [b"head", b": ping\n\n", b"taken", b"id: 1\n\n"]


async def test_a_stream_that_has_ended_leaves_nothing_behind(soon):
    pipe, idle = Pipe(), Pipe()
    async with answering(Watches().watch(), pipe):
        await pipe.has_begun(2)
    async with answering(Watches().watch(), idle):
        await idle.has_begun(4)
    assert pipe.sent == [b"head", b": ping\n\n"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_lines_have_no_comments(soon):
    pipe, idle = Pipe(), Pipe()

    async def teas() -> AsyncIterator[News]:
        yield News("tea")
        await asyncio.Event().wait()

    scope: Any = {"type": "http"}
    lines = asyncio.create_task(LinesResponse(teas())(scope, nothing, pipe.send))
    async with answering(Watches().watch(), idle):
        await idle.has_begun(4)
    lines.cancel()
    assert pipe.sent == [b"head", b'{"text":"tea","parts":[]}\n']
