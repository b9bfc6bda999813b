"""The stop of the REST port: calls finish, clients are told, and nobody can hold it up."""

import asyncio
import logging
from typing import Any

import httpx2
import pytest

from twinport.rest.servers.hypercorn.server import HypercornServer

from support.wire import GET, TIMEOUT_S, H2Wire, Port, Wire, serving

REFUSED = 7
LARGEST_WINDOW = 2**31 - 1


@pytest.fixture
async def port(quiet: None) -> Any:
    async with serving(HypercornServer) as port:
        yield port


# Connections without a request do not hold it up.


async def nothing(wire: H2Wire) -> None:
    """Say nothing."""


async def half_a_head(wire: H2Wire) -> None:
    wire.send(GET[:10])


async def a_request_on_http1(wire: H2Wire) -> None:
    wire.send(GET)
    await wire.until(b"bytes")


async def the_preface(wire: H2Wire) -> None:
    wire.begin()
    await wire.frame()


async def a_request_on_http2(wire: H2Wire) -> None:
    wire.begin()
    await wire.answer(wire.request())


@pytest.mark.parametrize(
    "said", [nothing, half_a_head, a_request_on_http1, the_preface, a_request_on_http2]
)
async def test_an_idle_connection_does_not_hold_up_the_stop(port: Port, said: Any) -> None:
    async with H2Wire.open(port.number) as wire:
        await said(wire)
        await port.stops()
        if said in {the_preface, a_request_on_http2}:
            await wire.until_goaway()
        await wire.closed()


async def test_a_request_that_crosses_the_goaway_is_not_reset(port: Port) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        answered = wire.request()
        await wire.answer(answered)
        stop = asyncio.create_task(port.stops())
        for _ in range(3):  # a port that has closed would answer with a reset
            await asyncio.sleep(0.03)
            wire.request()
        assert (await wire.until_goaway()).last_stream_id == answered  # safe to send again
        await wire.closed()
        await stop


# Requests under way finish.


async def test_a_request_on_http1_finishes(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n")
        await port.probe.has_begun()
        stop = asyncio.create_task(port.stops())
        await asyncio.sleep(0)
        port.probe.release.set()
        answer = await wire.closed()
        await stop
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer
    assert answer.endswith(b"held")


@pytest.mark.parametrize(("path", "body"), [("/hold", b"held"), ("/stream", b"begun ended")])
async def test_a_request_on_http2_finishes_and_a_new_one_is_refused(
    port: Port, path: str, body: bytes
) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        stream_id = wire.request(path)
        await port.probe.has_begun()
        stop = asyncio.create_task(port.stops())
        await asyncio.sleep(0)
        refused = wire.request()
        assert (await wire.answer(refused)).reset == REFUSED
        port.probe.release.set()
        answer = await wire.answer(stream_id)
        assert (await wire.until_goaway()).last_stream_id == refused
        await stop
    assert (answer.status, answer.body, answer.reset) == (200, body, None)


@pytest.mark.parametrize("path", ["hold", "stream"])
async def test_a_request_of_httpx_finishes(port: Port, path: str) -> None:
    async with httpx2.AsyncClient(http1=False, http2=True) as client:
        url = f"http://127.0.0.1:{port.number}/{path}"
        request = asyncio.create_task(client.get(url))
        await port.probe.has_begun()
        stop = asyncio.create_task(port.stops())
        await asyncio.sleep(0)
        port.probe.release.set()
        assert (await request).status_code == 200
        await stop


async def test_nobody_can_connect_any_more(port: Port) -> None:
    await port.stops()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port.number)


# Whoever is not ready in time is cut.


async def test_a_request_over_the_grace_is_cut(port: Port) -> None:
    async with H2Wire.open(port.number) as wire, Wire.open(port.number) as old:
        wire.begin()
        stream_id = wire.request("/hold")
        old.send(b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n")
        await port.probe.has_begun(2)
        await port.stops(grace_s=0.2)
        assert (await wire.answer(stream_id)).status == 503
        assert (await old.closed()).startswith(b"HTTP/1.1 503")
    assert port.probe.cancelled == 2


@pytest.mark.parametrize("window", [0, LARGEST_WINDOW])
async def test_a_reader_that_does_not_read_is_cut(port: Port, window: int) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin(INITIAL_WINDOW_SIZE=window)
        wire.window(0, LARGEST_WINDOW - 65535)
        wire.request("/endless")
        wire.request("/hold")
        await port.probe.has_begun(2)
        await port.stops(grace_s=0.2)
    await port.nothing_is_left()


async def test_a_reader_on_http1_that_does_not_read_is_cut(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        await port.probe.has_begun()
        await port.stops(grace_s=0.2)
    await port.nothing_is_left()


async def test_a_bad_path_does_not_hold_up_the_stop(port: Port) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        wire.request("/hold")
        await wire.answer(wire.request(b"/\xff"))
        await port.stops(grace_s=0.2)
    await port.nothing_is_left()


async def test_a_handler_that_ignores_its_end_is_named(
    port: Port, caplog: pytest.LogCaptureFixture
) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(b"GET /stubborn HTTP/1.1\r\nhost: a\r\n\r\n")
        await port.probe.has_begun()
        await port.stops(grace_s=0.2)
    assert [record for record in caplog.records if record.levelno == logging.WARNING]
    port.probe.release.set()
    await port.nothing_is_left()


async def test_a_second_stop_shortens_the_first(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n")
        await port.probe.has_begun()
        first = asyncio.create_task(port.server.stop(60))
        await asyncio.sleep(0)
        await port.stops(grace_s=0)
        async with asyncio.timeout(TIMEOUT_S):
            await first
