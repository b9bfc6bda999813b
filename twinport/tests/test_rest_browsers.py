"""What browsers and slow lines need: CORS, gzip; and nothing of it unless the settings say so."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import ValidationError

from sample.settings import Settings
from twinport import Service
from twinport.calls import CallSettings
from twinport.rest.settings import HttpCors, HttpGzip

SHOP = "https://shop.example.com"
CORS = HttpCors(origins=(SHOP,), credentials=True)
PREFLIGHT = {"origin": SHOP, "access-control-request-method": "DELETE"}
TEXT = "tea " * 1000


async def built(service: Service, settings: Settings) -> None:
    @service.rest.get("/text")
    async def text(size: int = len(TEXT)) -> PlainTextResponse:
        return PlainTextResponse(TEXT[:size])

    @service.rest.get("/parts")
    async def parts(kind: str) -> StreamingResponse:
        return StreamingResponse(slowly(), media_type=kind)

    @service.rest.get("/bug")
    async def bug() -> None:
        raise KeyError("bug")

    @service.rest.get("/held")
    async def held() -> None:
        await asyncio.Event().wait()


async def slowly() -> AsyncIterator[str]:
    yield "first "
    await asyncio.Event().wait()


@pytest.fixture
def opened(settings: Settings, serving: Callable[..., Any]) -> Callable[..., Any]:
    def opened(**chosen: Any) -> Any:
        http = settings.http.model_copy(update=chosen)
        return serving(settings.model_copy(update={"http": http}), built)

    return opened


def client(ports: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}", timeout=20)


async def test_a_page_of_an_origin_that_is_named_may_call(opened):
    async with opened(cors=CORS) as ports, client(ports) as http:
        answer = await http.get("/text", headers={"origin": SHOP})
        asked = await http.options("/text", headers=PREFLIGHT)
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "origin" in answer.headers["vary"].lower()
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, SHOP)
    assert "DELETE" in asked.headers["access-control-allow-methods"]
    assert "authorization" in asked.headers["access-control-allow-headers"]


async def test_a_page_may_read_what_a_call_is_known_by(opened):
    async with opened(cors=CORS) as ports, client(ports) as http:
        answer = await http.get("/text", headers={"origin": SHOP})
    readable = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-trace-id", "x-request-id"} <= set(readable) & set(answer.headers)


async def test_a_page_of_another_origin_may_not_call(opened):
    async with opened(cors=CORS) as ports, client(ports) as http:
        answer = await http.get("/text", headers={"origin": "https://evil.example.com"})
        asked = await http.options("/", headers=PREFLIGHT | {"origin": f"{SHOP}.evil.com"})
    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-origin" not in asked.headers
    assert asked.status_code == 400


async def test_origins_may_be_a_pattern_that_matches_the_whole_of_one(opened):
    cors = HttpCors(origin_pattern=r"https://[a-z]+\.example\.com")
    async with opened(cors=cors) as ports, client(ports) as http:
        good, bad = [
            (await http.get("/text", headers={"origin": origin})).headers
            for origin in (SHOP, f"{SHOP}.evil.com")
        ]
    assert good["access-control-allow-origin"] == SHOP
    assert "access-control-allow-origin" not in bad


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/nothing", {}, 404),
        ("/bug", {}, 500),
        ("/held", {"grpc-timeout": "20m"}, 504),
        ("/text", {"grpc-timeout": "soon"}, 400),
    ],
)
async def test_a_page_may_read_every_refusal(opened, path, headers, status):
    async with opened(cors=CORS) as ports, client(ports) as http:
        answer = await http.get(path, headers=headers | {"origin": SHOP})
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.headers["access-control-allow-origin"] == SHOP


async def test_a_page_may_read_that_there_are_too_many_calls(settings, serving):
    begun = asyncio.Event()

    async def with_begun(service: Service, settings: Settings) -> None:
        await built(service, settings)

        @service.rest.get("/begun")
        async def hold() -> None:
            begun.set()
            await asyncio.Event().wait()

    http = settings.http.model_copy(update={"cors": CORS})
    few = settings.model_copy(update={"http": http, "calls": CallSettings(max_concurrent=1)})
    async with serving(few, with_begun) as ports, client(ports) as http:
        held = asyncio.create_task(http.get("/begun"))
        await begun.wait()
        answer = await http.get("/text", headers={"origin": SHOP})
        held.cancel()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["access-control-allow-origin"] == SHOP


async def test_unless_set_nothing_is_said_of_origins_and_nothing_compressed(opened):
    async with opened() as ports, client(ports) as http:
        answer = await http.get("/text", headers={"origin": SHOP, "accept-encoding": "gzip"})
    assert not {"access-control-allow-origin", "content-encoding", "vary"} & set(answer.headers)


async def test_a_large_answer_is_compressed_for_who_accepts_it(opened, calls):
    async with opened(gzip=HttpGzip()) as ports, client(ports) as http:
        async with http.stream("GET", "/text", headers={"accept-encoding": "gzip"}) as zipped:
            body = b"".join([part async for part in zipped.aiter_raw()])
        plain = await http.get("/text", headers={"accept-encoding": "identity"})
    assert gzip.decompress(body).decode() == plain.text == TEXT
    assert zipped.headers["content-encoding"] == "gzip"
    assert int(zipped.headers["content-length"]) == len(body) == calls[0].sent_bytes < 100
    assert "content-encoding" not in plain.headers
    assert "accept-encoding" in zipped.headers["vary"].lower() == plain.headers["vary"].lower()


ACCEPTED = {
    "gzip": True,
    "GZIP ; q=0.001": True,
    "br, gzip;q=1.000, *;q=0": True,
    "gzip;q=0": False,
    "identity, gzip; q=0.0": False,
    "gzip;q=0.000, *": False,
    "gzip;q=nan": False,
    "notgzip": False,
    "gzipped": False,
    "*": False,
    "": False,
}


async def test_compressed_is_for_those_alone_who_accept_it(opened):
    async with opened(gzip=HttpGzip()) as ports, client(ports) as http:
        answers = {
            each: (await http.get("/text", headers={"accept-encoding": each})).headers
            for each in ACCEPTED
        }
    assert {each: "content-encoding" in head for each, head in answers.items()} == ACCEPTED


@pytest.mark.parametrize("coding", ["gzip", "identity"])
@pytest.mark.parametrize("path", ["/text", "/text?size=1", "/parts?kind=text/plain", "/nothing"])
async def test_the_head_is_that_of_get_also_where_that_is_compressed(opened, coding, path):
    async with opened(gzip=HttpGzip()) as ports, client(ports) as http:
        head = await http.head(path, headers={"accept-encoding": coding})
        async with http.stream("GET", path, headers={"accept-encoding": coding}) as answer:
            assert said(head) == said(answer)


def said(answer: httpx2.Response) -> dict[str, str]:
    each_its_own = {"date", "x-request-id", "x-trace-id"}
    return {name: value for name, value in answer.headers.items() if name not in each_its_own}


async def test_a_small_answer_is_sent_as_it_is(opened):
    chosen = HttpGzip.model_validate({"min_size": "500B"})
    async with opened(gzip=chosen) as ports, client(ports) as http:
        small = await http.get("/text", params={"size": 499})
        large = await http.get("/text", params={"size": 500})
    assert "content-encoding" not in small.headers
    assert large.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("kind", ["text/event-stream", "application/jsonl", "text/plain"])
async def test_the_first_part_of_a_stream_does_not_wait_for_the_second(opened, kind):
    async with (
        opened(gzip=HttpGzip()) as ports,
        client(ports) as http,
        http.stream("GET", "/parts", params={"kind": kind}) as answer,
    ):
        parts = answer.aiter_text()
        async with asyncio.timeout(20):
            assert await anext(parts) == "first "
    assert ("content-encoding" in answer.headers) == (kind == "text/plain")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "origins or origin_pattern"),
        ({"origins": ["*"], "credentials": True}, 'origins other than "[*]"'),
        ({"origins": ["shop.example.com"]}, "origins"),
        ({"origins": [f"{SHOP}/path"]}, "origins"),
        ({"origin_pattern": "("}, "no regular expression"),
        ({"origins": ["*"], "headers": ["a b"]}, "headers"),
        ({"origins": ["*"], "max_age": "0s"}, "max_age"),
    ],
)
def test_settings_that_no_browser_understands_are_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        HttpCors.model_validate(wrong)
