"""What is wrong with a request, or too much of it, is answered as a problem, on every server."""

import asyncio
import json
from typing import Any

import pytest

from twinport.rest.edge import RestEdge
from twinport.rest.servers.granian import GranianServer
from twinport.rest.servers.hypercorn.server import HypercornServer
from twinport.rest.servers.uvicorn import UvicornServer
from twinport.rest.settings import HttpLimits

from support.edges import edge
from support.wire import H2Wire, Port, Wire, serving

LIMITS = {"body_size": "64KiB", "body_time": "500ms"}
POST = b"POST / HTTP/1.1\r\nhost: a\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
JSON_LINES = POST + b"content-type: application/jsonl\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b"1000\r\n" + b"x" * 4096 + b"\r\n"
END = b"0\r\n\r\n"


def edged(app: Any, limits: HttpLimits) -> RestEdge:
    return RestEdge(edge(), limits, app, app, lambda app: app)


@pytest.fixture(params=[HypercornServer, UvicornServer, GranianServer], ids=lambda s: s.__name__)
async def port(request: pytest.FixtureRequest, quiet: None) -> Any:
    async with serving(request.param, edged, **LIMITS) as port:
        yield port


@pytest.fixture(params=[HypercornServer, GranianServer], ids=lambda kind: kind.__name__)
async def http2_port(request: pytest.FixtureRequest, quiet: None) -> Any:
    async with serving(request.param, edged, **LIMITS) as port:
        yield port


@pytest.fixture(params=[HypercornServer, UvicornServer, GranianServer], ids=lambda s: s.__name__)
async def patient(request: pytest.FixtureRequest, quiet: None) -> Any:
    """A port that waits for a body as long as a machine may stand still."""
    async with serving(request.param, edged, body_size="64KiB", body_time="1s") as port:
        yield port


@pytest.fixture
async def hypercorn(quiet: None) -> Any:
    async with serving(HypercornServer, edged, **LIMITS) as port:
        yield port


async def answer(port: Port, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    async with Wire.open(port.number) as wire:
        wire.send(*parts)
        head = (await wire.until(b"\r\n\r\n")).decode().lower()
        line, *fields = head.strip().split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        body = await wire.reader.readexactly(int(headers["content-length"]))
    await port.nothing_is_left()
    return int(line.split()[1]), headers, body


TOO_LARGE = [
    (POST, b"content-length: 70000\r\n\r\n"),
    (POST, b"content-length: 70000\r\n\r\n", b"x" * 70000),
    (CHUNKED, CHUNK * 17, END),
    (CHUNKED, CHUNK * 100),
]


@pytest.mark.parametrize("parts", TOO_LARGE)
async def test_a_large_body_is_refused(port: Port, parts: tuple[bytes, ...]) -> None:
    status, headers, body = await answer(port, *parts)
    assert (status, headers["content-type"]) == (413, "application/problem+json")
    assert headers["connection"] == "close"
    assert json.loads(body)["code"] == "RESOURCE_EXHAUSTED"


async def test_a_body_of_the_full_size_is_read(port: Port) -> None:
    status, _, body = await answer(port, POST, b"content-length: 65536\r\n\r\n", b"x" * 65536)
    assert (status, body) == (200, b"65536 bytes")


async def test_a_large_body_on_http2_is_refused_and_harms_no_sibling(http2_port: Port) -> None:
    async with H2Wire.open(http2_port.number) as wire:
        wire.begin()
        sibling = wire.request("/hold")
        large = wire.request(end=False, more=[(b"content-length", b"70000")])
        refused = await wire.answer(large)
        assert (refused.status, json.loads(refused.body)["status"]) == (413, 413)
        http2_port.probe.release.set()
        assert (await wire.answer(sibling)).body == b"held"


LATE = [
    (POST, b"content-length: 100\r\n\r\n"),
    (POST, b"content-length: 100\r\n\r\n", b"x" * 99),
    (CHUNKED, CHUNK * 3),
]


@pytest.mark.parametrize("parts", LATE)
async def test_a_body_that_does_not_come_is_refused(port: Port, parts: tuple[bytes, ...]) -> None:
    status, headers, body = await answer(port, *parts)
    assert (status, headers["content-type"]) == (408, "application/problem+json")
    assert json.loads(body)["code"] == "DEADLINE_EXCEEDED"


async def test_a_body_that_drips_is_refused(http2_port: Port) -> None:
    async with H2Wire.open(http2_port.number) as wire:
        wire.begin()
        stream_id = wire.request(end=False)
        late = asyncio.create_task(wire.answer(stream_id))
        while not late.done():
            wire.body(stream_id, b"x")
            await asyncio.wait([late], timeout=0.05)
        assert (await late).status == 408


async def test_a_stream_of_lines_may_take_its_time_and_its_size(patient: Port) -> None:
    async with Wire.open(patient.number) as wire:
        wire.send(JSON_LINES)
        for _ in range(15):
            wire.send(CHUNK * 10)
            await asyncio.sleep(0.1)
        wire.send(END)
        await wire.until(b"614400 bytes")


async def test_a_stream_of_lines_that_falls_silent_is_refused(port: Port) -> None:
    status, *_ = await answer(port, JSON_LINES, CHUNK * 100)
    assert status == 408


# What only hypercorn leaves to the edge: the others refuse it in words of their own.


async def test_a_hidden_second_request_is_not_run(hypercorn: Port) -> None:
    hidden = b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n"
    both = b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n"
    status, headers, body = await answer(hypercorn, POST, both, END, hidden)
    assert (status, headers["connection"]) == (400, "close")
    assert json.loads(body)["code"] == "INVALID_ARGUMENT"


async def test_a_tunnel_is_refused(hypercorn: Port) -> None:
    status, *_ = await answer(hypercorn, b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n")
    assert status == 405
    async with H2Wire.open(hypercorn.number) as wire:
        wire.begin()
        stream_id = wire.headers([(":method", "CONNECT"), (":authority", "a:1")], end=False)
        assert (await wire.answer(stream_id)).status == 405
