"""HTTP/2 towards other services: what ends one call leaves the others on its connection alone."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request, Response
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from sample.settings import Settings
from twinport import Service
from twinport.clients.http import HttpClient
from twinport.clients.http2_connection import (
    CONNECTION_ROOM,
    MOST_STREAMS,
    STREAM_ROOM,
)
from twinport.clients.outgoing import Outgoing
from twinport.clients.settings import ClientSettings
from twinport.errors import (
    DeadlineExceededError,
    UnavailableError,
)

from support.certified import Site

PART = b"x" * 65_536
LEFT = 200  # answers, twice as many as a connection has streams
TURNS = 180  # of the loop, about as many as a call over TLS takes


class Parts(Response):
    """An answer in parts, which tells when it has ended or is cut off."""

    def __init__(self, size: int, ended: asyncio.Semaphore) -> None:
        super().__init__()
        self._left, self._ended = size, ended

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while self._left > 0:
                self._left -= len(PART)
                await send({"type": "http.response.body", "body": PART, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._ended.release()


class Slow:
    """Routes that last as long as a test wants."""

    def __init__(self) -> None:
        self.connections: set[tuple[str, int]] = set()
        self.begun, self.ended = asyncio.Semaphore(0), asyncio.Semaphore(0)
        self.go = asyncio.Event()

    async def built(self, service: Service, settings: Settings) -> None:
        service.rest.get("/wait")(self.wait)
        service.rest.get("/parts")(self.parts)
        service.rest.post("/size")(self.size)
        service.rest.api_route("/quick", methods=["GET", "POST"])(self.quick)

    async def wait(self, request: Request) -> None:
        self._note(request)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.ended.release()
            raise

    async def parts(self, request: Request, size: int = sys.maxsize) -> Response:
        self._note(request)
        return Parts(size, self.ended)

    async def size(self, request: Request) -> int:
        return len(await request.body())

    async def quick(self, request: Request) -> str:
        self._note(request)
        return "here"

    def _note(self, request: Request) -> None:
        assert request.client
        self.connections.add(tuple(request.client))
        self.begun.release()


@pytest.fixture
async def slow() -> Slow:
    return Slow()


@pytest.fixture
def site(tmp_path: Path, settings: Settings) -> Site:
    return Site(tmp_path, settings)


@pytest.fixture
async def url(slow: Slow, settings: Settings, serving: Callable[..., Any]) -> AsyncIterator[str]:
    async with serving(settings, slow.built) as ports:
        yield f"http://127.0.0.1:{ports.http}"


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with opened(url) as client:
        yield client


def opened(url: str, **chosen: Any) -> httpx.AsyncClient:
    settings = ClientSettings.model_validate({"url": url, "http2": True, **chosen})
    return HttpClient(Outgoing("next", settings, ()))


async def soon(awaitable: Any) -> Any:
    async with asyncio.timeout(5):
        return await awaitable


async def cancelled(call: asyncio.Task[Any]) -> None:
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call


def begin(call: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.create_task(call)


async def test_a_call_that_is_cancelled_ends_there_too_and_no_other(
    http: httpx.AsyncClient, slow: Slow
):
    calls = [begin(http.get("/wait")) for _ in range(3)]
    for _ in calls:
        await soon(slow.begun.acquire())
    await cancelled(calls[1])
    async with asyncio.timeout(1):
        await slow.ended.acquire()
    slow.go.set()
    for call in (calls[0], calls[2]):
        assert (await soon(call)).is_success
    assert slow.ended.locked()  # no other was
    assert len(slow.connections) == 1


async def test_an_answer_that_is_left_ends_there_too(http: httpx.AsyncClient, slow: Slow):
    async with http.stream("GET", "/parts") as answer:
        assert await soon(anext(answer.aiter_bytes()))
    async with asyncio.timeout(1):
        await slow.ended.acquire()


async def test_answers_that_are_left_do_not_use_up_the_streams(http: httpx.AsyncClient, slow: Slow):
    waiting = begin(http.get("/wait"))  # keeps the connection
    await soon(slow.begun.acquire())
    for _ in range(LEFT):
        async with http.stream("GET", "/parts") as answer:
            await soon(anext(answer.aiter_bytes()))
        await soon(slow.ended.acquire())
    slow.go.set()
    assert (await soon(waiting)).is_success
    assert len(slow.connections) == 1


async def test_answers_that_are_not_read_leave_room_for_others(http: httpx.AsyncClient, slow: Slow):
    async with AsyncExitStack() as unread:
        for _ in range(MOST_STREAMS - 1):
            await unread.enter_async_context(http.stream("GET", "/parts"))
            await soon(slow.begun.acquire())
        await asyncio.sleep(0.5)  # as much has come as may
        for _ in range(3):
            assert (await soon(http.get("/quick"))).is_success
    assert len(slow.connections) == 1


async def test_what_nobody_reads_of_an_answer_does_not_use_up_the_window(
    http: httpx.AsyncClient, slow: Slow
):
    waiting = begin(http.get("/wait"))  # keeps the connection, and reads what comes
    await soon(slow.begun.acquire())
    for _ in range(CONNECTION_ROOM // STREAM_ROOM + 1):
        async with http.stream("GET", "/parts", params={"size": STREAM_ROOM}):
            await soon(slow.ended.acquire())  # has been sent
    slow.go.set()
    assert (await soon(waiting)).is_success
    assert len(slow.connections) == 1


@pytest.mark.parametrize("is_secure", [False, True], ids=["clear", "TLS"])
async def test_whenever_a_call_is_cancelled_the_one_beside_it_is_answered(
    slow: Slow, site: Site, serving: Callable[..., Any], is_secure: bool
):
    scheme, settings = ("https", site.secured()) if is_secure else ("http", site.settings)
    async with serving(settings, slow.built) as ports:
        url = f"{scheme}://localhost:{ports.http}"
        chosen = {"tls": {"ca": site.ca}, "retries": {"attempts": 1}}
        outcomes = [await is_cancelled(turns, slow, url, **chosen) for turns in range(TURNS)]
    assert outcomes.count(True) > 50


async def is_cancelled(turns: int, slow: Slow, url: str, **chosen: Any) -> bool:
    """Tell whether a call is cancelled that many turns of the loop after it began."""
    async with opened(url, **chosen) as http:
        first, second = begin(http.get("/quick")), begin(http.get("/quick"))
        await passed(turns)
        await cancelled(first)
        assert (await soon(second)).is_success
        assert (await soon(http.get("/quick"))).is_success
    assert len(slow.connections) == 1
    slow.connections.clear()
    return first.cancelled()


async def passed(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_a_body_that_is_larger_than_the_window_waits_for_room(http: httpx.AsyncClient):
    answer = await soon(http.post("/size", content=PART * 8))
    assert answer.json() == len(PART * 8)


async def test_calls_that_hang_do_not_keep_others_waiting(http: httpx.AsyncClient, slow: Slow):
    hanging = [begin(http.get("/wait")) for _ in range(50)]
    for _ in hanging:
        await soon(slow.begun.acquire())
    async with asyncio.timeout(2):
        for _ in range(20):
            assert (await http.get("/quick")).is_success
    slow.go.set()
    assert all(answer.is_success for answer in await soon(asyncio.gather(*hanging)))
    assert len(slow.connections) == 1


async def test_a_short_time_of_one_call_is_not_that_of_another(http: httpx.AsyncClient, slow: Slow):
    long = begin(http.get("/wait"))
    await soon(slow.begun.acquire())
    with pytest.raises(DeadlineExceededError):
        await soon(http.get("/wait", timeout=0.2))
    slow.go.set()
    assert (await soon(long)).is_success
    assert len(slow.connections) == 1


OLD = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"
WRONG = b"\0\0\0\4\0\0\0\0\1"  # SETTINGS of one stream, which are for all (RFC 9113, 6.5)


Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def calling(accept: Accept, **chosen: Any) -> AsyncIterator[httpx.AsyncClient]:
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, opened(f"http://127.0.0.1:{port}", **chosen) as http:
        yield http


class Odd:
    """A port that speaks no proper HTTP/2: it says `words`, and hangs up if it speaks HTTP/1.1."""

    def __init__(self, words: bytes = b"") -> None:
        self.words, self.connections = words, 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.read(1)
        writer.write(self.words)
        if self.words is not OLD:
            await reader.read(-1)
        writer.close()


class Leaving:
    """Says GOAWAY after two calls, and answers the first when the second was answered elsewhere."""

    def __init__(self) -> None:
        self.connections = 0
        self.answered_elsewhere, self.first_left = asyncio.Event(), asyncio.Event()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        is_first = self.connections == 1
        frames = H2Connection(H2Configuration(client_side=False))
        frames.initiate_connection()
        writer.write(frames.data_to_send())
        await asked(2 if is_first else 1, frames, reader, writer)
        if is_first:
            writer.write(GoAwayFrame(last_stream_id=1).serialize())
            await self.answered_elsewhere.wait()
        frames.send_headers(1, [(":status", "204")], end_stream=True)
        writer.write(frames.data_to_send())
        self.answered_elsewhere.set()
        await reader.read(-1)
        writer.close()
        if is_first:
            self.first_left.set()


async def asked(
    times: int, frames: H2Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Read until so many calls have come, or the other side has gone."""
    while times > 0 and (data := await reader.read(65_536)):
        events = frames.receive_data(data)
        times -= len([event for event in events if isinstance(event, StreamEnded)])
        writer.write(frames.data_to_send())


async def test_who_leaves_in_peace_answers_what_it_took_and_the_rest_goes_elsewhere():
    leaving = Leaving()
    async with calling(leaving.accept) as http:
        calls = [http.post("/quick", json={}) for _ in range(2)]
        answers = await soon(asyncio.gather(*calls))
        await soon(leaving.first_left.wait())
    assert [answer.status_code for answer in answers] == [204, 204]


class Limiting:
    """Allows so many streams, or does not say; and `then` fewer, before it answers three calls."""

    def __init__(self, streams: int | None, then: int | None) -> None:
        self._streams, self._then = streams, then

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = H2Connection(H2Configuration(client_side=False))
        if self._streams is None:
            del frames.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS]
        frames.initiate_connection()
        writer.write(frames.data_to_send())
        await asked(3, frames, reader, writer)
        if self._then is not None:
            frames.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: self._then})
        for stream_id in (5, 3, 1):
            frames.send_headers(stream_id, [(":status", "204")], end_stream=True)
        writer.write(frames.data_to_send())
        await reader.read(-1)
        writer.close()


@pytest.mark.parametrize(("streams", "then"), [(None, None), (100, 1)])
async def test_as_many_calls_go_at_once_as_the_other_side_allows(
    streams: int | None, then: int | None
):
    async with calling(Limiting(streams, then).accept) as http:
        calls = [http.post("/quick", json={}) for _ in range(3)]
        answers = await soon(asyncio.gather(*calls))
    assert [answer.status_code for answer in answers] == [204] * 3


async def test_a_connection_that_says_nothing_gets_no_further_calls():
    silent = Odd()
    async with calling(silent.accept, deadline=timedelta(seconds=1.2)) as http:
        with pytest.raises(DeadlineExceededError):
            await soon(http.post("/quick"))
        with pytest.raises(DeadlineExceededError):
            await soon(http.post("/quick"))
    assert silent.connections == 2


@pytest.mark.parametrize("words", [OLD, WRONG], ids=["HTTP/1.1", "a wrong frame"])
async def test_what_is_no_http2_is_unavailable(words: bytes):
    async with calling(Odd(words).accept) as http:
        with pytest.raises(UnavailableError, match=r"^next is not available$"):
            await soon(http.get("/quick"))


async def test_a_call_after_a_restart_of_the_service_does_not_notice_it(
    slow: Slow, settings: Settings, serving: Callable[..., Any]
):
    async with AsyncExitStack() as kept:
        async with serving(settings, slow.built) as ports:
            http = await kept.enter_async_context(opened(f"http://127.0.0.1:{ports.http}"))
            assert (await soon(http.post("/quick"))).is_success
        same = settings.http.model_copy(update={"port": ports.http})
        again = settings.model_copy(update={"http": same})
        await kept.enter_async_context(serving(again, slow.built))
        assert (await soon(http.post("/quick"))).is_success


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])
@pytest.mark.parametrize("chosen", [None, False, True])
async def test_over_tls_both_sides_agree_on_the_version(
    site: Site, serving: Callable[..., Any], server: str, chosen: bool | None
):
    secured = site.secured()
    of = secured.http.model_copy(update={"server": server})
    async with serving(secured.model_copy(update={"http": of})) as ports:
        url = f"https://localhost:{ports.http}"
        async with opened(url, http2=chosen, tls={"ca": site.ca}) as http:
            answers = await soon(asyncio.gather(*(http.get("/v1/orders") for _ in range(5))))
    is_http2 = server == "hypercorn" and chosen is not False
    expected = "HTTP/2" if is_http2 else "HTTP/1.1"
    assert {answer.http_version for answer in answers} == {expected}
