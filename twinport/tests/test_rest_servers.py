"""The three servers behave the same in what the lifecycle and the limits ask of them."""

import asyncio
import socket
import struct
import subprocess
import sys
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from twinport import rest
from twinport.rest.servers import connections
from twinport.rest.servers.granian import GranianServer
from twinport.rest.servers.hypercorn.server import HypercornServer
from twinport.rest.servers.uvicorn import UvicornServer

from support.wire import GET, TIMEOUT_S, H2Wire, Port, Wire, serving

ALL = [HypercornServer, UvicornServer, GranianServer]
WITH_HTTP2 = [HypercornServer, GranianServer]
ENOUGH = 50  # requests of 100 ms one after the other
OURS = [HypercornServer, UvicornServer]  # whose edge is ours
LARGE_HEAD = GET[:-2] + b"x: " + b"y" * 17000 + b"\r\n\r\n"
HOLD = b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n"
LIMITS: dict[str, Any] = {"header_size": "16KiB", "body_size": "64KiB", "connections": 30}
SHORT = dict.fromkeys(["header_time", "send_time", "idle_time", "body_time"], "500ms")


@pytest.fixture(params=ALL, ids=lambda kind: kind.__name__)
async def port(request: pytest.FixtureRequest, quiet: None) -> Any:
    async with serving(request.param, **LIMITS) as port:
        yield port


@pytest.fixture(params=ALL, ids=lambda kind: kind.__name__)
async def impatient_port(request: pytest.FixtureRequest, quiet: None) -> Any:
    """A port that waits for no client; a test that waits itself is better off with `port`."""
    async with serving(request.param, **LIMITS | SHORT) as port:
        yield port


@pytest.fixture(params=WITH_HTTP2, ids=lambda kind: kind.__name__)
async def http2_port(request: pytest.FixtureRequest, quiet: None) -> Any:
    async with serving(request.param, **LIMITS) as port:
        yield port


# Serving.


async def test_an_answer_carries_a_date(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi")
        answer = (await wire.until(b"2 bytes")).lower()
    assert answer.startswith(b"http/1.1 200")
    assert b"\r\ndate: " in answer


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's counts are Linux's")
async def test_a_small_answer_arrives_in_one_piece(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        for answered in (1, 2):
            wire.send(GET)
            await wire.until(b"bytes")
            assert pieces_received(wire) == answered


def pieces_received(wire: Wire) -> int:
    """Return how many segments with data have come, which is tcpi_data_segs_in of tcp(7)."""
    own = wire.writer.get_extra_info("socket")
    info = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 156)
    return int(struct.unpack_from("I", info, 152)[0])


async def test_the_head_of_a_stream_does_not_wait_for_its_first_part(quiet: None) -> None:
    async with serving(UvicornServer, **LIMITS) as port, Wire.open(port.number) as wire:
        wire.send(b"GET /pause HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        port.probe.release.set()
        await wire.until(b"ended")


@pytest.mark.parametrize("kind", OURS)
async def test_a_head_without_a_body_arrives(kind: Any, quiet: None) -> None:
    async with serving(kind, **LIMITS) as port, Wire.open(port.number) as wire:
        for _ in range(2):
            wire.send(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert b"\r\ncontent-length: 7\r\n" in await wire.until(b"\r\n\r\n")


@pytest.mark.parametrize("target", [b"http://b/large", b"HTTP://b:80/large?a=b"])
async def test_a_request_as_to_a_proxy_is_answered(port: Port, target: bytes) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(b"GET %b HTTP/1.1\r\nhost: b\r\n\r\n" % target)
        await wire.until(b"xxxx")


async def test_http2_is_served_on_the_same_port(http2_port: Port) -> None:
    async with H2Wire.open(http2_port.number) as wire:
        wire.begin()
        stream_id = wire.request(end=False)
        wire.body(stream_id, b"hi", end=True)
        assert await wire.answer(stream_id) == (200, b"2 bytes", None)


async def test_serving_goes_on_until_it_is_stopped(port: Port) -> None:
    waiting = asyncio.create_task(port.server.wait())
    async with Wire.open(port.number) as wire:
        wire.send(GET)
        await wire.until(b"bytes")
    assert not waiting.done()
    await port.stops()
    await waiting


# Stopping.


async def test_a_request_under_way_finishes(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(HOLD)
        await port.probe.has_begun()
        stop = asyncio.create_task(port.stops())
        await asyncio.sleep(0)
        port.probe.release.set()
        answer = await wire.closed()
        await stop
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"held")


async def test_an_idle_connection_does_not_hold_up_the_stop(port: Port) -> None:
    async with Wire.open(port.number) as wire, Wire.open(port.number):
        wire.send(GET)
        await wire.until(b"bytes")
        await port.stops()


async def test_an_idle_http2_connection_does_not_hold_up_the_stop(http2_port: Port) -> None:
    async with H2Wire.open(http2_port.number) as wire:
        wire.begin()
        await wire.answer(wire.request())
        await http2_port.stops()
        await wire.until_goaway()


async def test_a_request_over_the_grace_is_cut(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(HOLD)
        await port.probe.has_begun()
        await port.stops(grace_s=0.2)
        assert (await wire.until(b"\r\n")).startswith(b"HTTP/1.1 503")
    assert port.probe.cancelled == 1


async def test_a_reader_that_does_not_read_does_not_hold_up_the_stop(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        await port.probe.has_begun()
        await port.stops(grace_s=0.2)
    assert port.probe.running == 0


async def test_nobody_can_connect_any_more(port: Port) -> None:
    await port.stops()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port.number)


async def test_a_second_stop_shortens_the_first(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(HOLD)
        await port.probe.has_begun()
        first = asyncio.create_task(port.server.stop(60))
        await asyncio.sleep(0)
        await port.stops(grace_s=0)
        async with asyncio.timeout(TIMEOUT_S):
            await first


# Bounds.


async def test_nothing_is_left_of_a_client_that_leaves(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(b"GET /listen HTTP/1.1\r\nhost: a\r\n\r\n")
        await port.probe.has_begun()
    await port.nothing_is_left()


async def test_nothing_is_left_of_a_client_that_leaves_in_the_midst_of_an_answer(
    port: Port,
) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        await wire.until(b"xxxx")
    await port.nothing_is_left()


@pytest.mark.parametrize("ahead", [b"", GET])
async def test_a_reader_that_does_not_read_is_cut(impatient_port: Port, ahead: bytes) -> None:
    async with Wire.open(impatient_port.number) as wire:
        wire.send(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n", ahead)
        await impatient_port.probe.has_begun()
        await impatient_port.nothing_is_left()


async def test_a_connection_without_a_further_request_is_closed(impatient_port: Port) -> None:
    async with Wire.open(impatient_port.number) as wire:
        wire.send(GET)
        await wire.until(b"0 bytes")
        assert await wire.closed() == b""
    await impatient_port.nothing_is_left()


@pytest.mark.parametrize("kind", OURS)  # granian leaves it open
async def test_a_connection_that_says_nothing_is_closed(kind: Any, quiet: None) -> None:
    async with serving(kind, **LIMITS | SHORT) as port, Wire.open(port.number) as wire:
        assert await wire.closed() == b""
        await port.nothing_is_left()


async def is_told_to_leave(wire: Wire) -> bool:
    wire.send(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
    return b"connection: close" in await wire.until(b"slow")


async def until_told_to_leave(wire: Wire) -> None:
    asked = 0
    while not await is_told_to_leave(wire):
        asked += 1
        assert asked < ENOUGH


@pytest.mark.parametrize("kind", OURS)  # the settings refuse it with granian
async def test_an_old_connection_says_which_answer_is_the_last(kind: Any, quiet: None) -> None:
    async with serving(kind, connection_age="200ms") as port, Wire.open(port.number) as wire:
        await until_told_to_leave(wire)
        assert await wire.closed() == b""


@pytest.mark.parametrize("kind", OURS)
async def test_who_came_together_does_not_leave_together(
    kind: Any, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, bounds = iter([0.01, 100.0]), []  # some tenth of a second, and some minutes

    def uniform(*between: float) -> float:
        bounds.append(between)
        return next(drawn)

    monkeypatch.setattr(connections, "random", SimpleNamespace(uniform=uniform))
    async with (
        serving(kind, connection_age="10s", send_time="400ms") as port,  # it looks often
        Wire.open(port.number) as first,
        Wire.open(port.number) as second,
    ):
        await until_told_to_leave(first)
        assert not await is_told_to_leave(second)
    assert bounds == [(0.9, 1.1)] * 2


async def test_half_a_head_has_its_time(impatient_port: Port) -> None:
    async with Wire.open(impatient_port.number) as wire:
        await wire.drip(GET[:-2] + b"x: " + b"y" * 200, 0.05)
        await wire.closed()


@pytest.mark.parametrize("size", [17000, 200_000])
async def test_a_large_head_is_refused(port: Port, size: int) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(GET[:-2], b"x: ", b"y" * size, b"\r\n\r\n")
        assert (await wire.until(b"\r\n")).split()[1] == b"431"
        await wire.closed()


CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n"

REFUSED = [
    b"\x16\x03\x01\x02\x00\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: soon\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: x\r\n\r\n",
    LARGE_HEAD,
    CHUNKED + b"no size\r\n",
    b"POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n",
    b"POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nx",
    b"GET /early HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET /unfinished HTTP/1.1\r\nhost: a\r\n\r\n",
]
ALONE_AND_NOT = [*REFUSED, *(refused + GET for refused in REFUSED)]


@pytest.mark.parametrize("kind", OURS)
async def test_a_request_that_is_refused_ends_and_gives_its_place_to_another(
    kind: Any, quiet: None
) -> None:
    limits = LIMITS | {"connections": len(ALONE_AND_NOT), "idle_time": "500ms"}
    async with serving(kind, **limits) as port:
        for _ in range(2):  # each time all places are taken
            assert await those_without_an_answer(port) == []
        await port.nothing_is_left()


async def those_without_an_answer(port: Port) -> list[bytes]:
    """Send all at once and return what is not answered, or whose connection is not closed."""
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire.open(port.number)) for _ in ALONE_AND_NOT]
        for wire, refused in zip(wires, ALONE_AND_NOT, strict=True):
            wire.send(refused)
        answers = await asyncio.gather(*(wire.closed() for wire in wires), return_exceptions=True)
    pairs = zip(ALONE_AND_NOT, answers, strict=True)
    return [sent for sent, answer in pairs if not (answer and isinstance(answer, bytes))]


@pytest.mark.parametrize("part", [b"x: y\r\n", b"y" * 100], ids=["many", "one"])
async def test_trailers_without_end_are_refused(port: Port, part: bytes) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(CHUNKED, b"0\r\nx: ", part)
        for _ in range(100):
            wire.send(part * 100)
            await asyncio.sleep(0)
        await wire.closed()
    await port.nothing_is_left()


@pytest.mark.parametrize("kind", OURS)  # granian breaks off
async def test_what_is_no_body_ends_the_call_that_waits_for_it(kind: Any, quiet: None) -> None:
    async with serving(kind, **LIMITS) as port, Wire.open(port.number) as wire:
        wire.send(CHUNKED, b"no size\r\n")
        assert (await wire.until(b"\r\n")).split()[1] == b"400"
        await wire.closed()
        await port.nothing_is_left()


@pytest.mark.parametrize("kind", OURS)
async def test_what_is_no_request_breaks_into_no_answer(kind: Any, quiet: None) -> None:
    async with serving(kind, **LIMITS) as port, Wire.open(port.number) as wire:
        wire.send(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n")
        await wire.until(b"begun ")
        wire.send(NO_REQUEST)
        await asyncio.sleep(0.1)
        port.probe.release.set()
        answer, refusal, _ = (await wire.closed()).partition(b"HTTP/1.1 400")
        assert not refusal or answer.endswith(b"0\r\n\r\n")
        await port.nothing_is_left()


NO_REQUEST = b"no request\r\n\r\n"
MUCH_BYTES = 6_000_000  # more than the kernel keeps, and little enough to send in LINGER_S


@pytest.mark.parametrize("kind", OURS)  # granian closes at once
@pytest.mark.parametrize(("sent", "status"), [(LARGE_HEAD, 431), (NO_REQUEST, 400)])
async def test_a_refusal_can_be_read_by_who_still_sends_and_is_named(
    kind: Any, sent: bytes, status: int, quiet: None
) -> None:
    async with serving(kind, **LIMITS) as port, Wire.open(port.number) as wire:
        wire.send(sent, b"x" * MUCH_BYTES)
        await wire.all_sent()
        line, *fields = (await wire.until(b"\r\n\r\n")).decode().split("\r\n")
        await wire.closed()
        await port.nothing_is_left()
    headers = dict(field.split(": ") for field in fields if field)
    assert line.split()[1] == str(status)
    assert len(headers["x-trace-id"]) == 32
    assert headers["x-request-id"] == headers["x-trace-id"]
    assert {"date", "content-length"} <= set(headers)


@pytest.mark.parametrize("kind", OURS)  # granian closes at once
async def test_an_early_answer_can_be_read_by_who_still_sends(kind: Any, quiet: None) -> None:
    async with serving(kind) as port, Wire.open(port.number) as wire:
        wire.send(b"POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\n")
        wire.send(b"x" * 10_000_000)
        await wire.all_sent()
        assert (await wire.until(b"\r\n\r\nno")).split()[1] == b"401"


@pytest.mark.parametrize("kind", OURS)
async def test_who_sends_on_after_an_early_answer_is_not_read_for_long(
    kind: Any, quiet: None
) -> None:
    async with serving(kind, **LIMITS) as port, Wire.open(port.number) as wire:
        wire.send(b"POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\n")
        assert (await wire.until(b"\r\n\r\nno")).split()[1] == b"401"
        await wire.drip(b"x" * 500, 0.02)
        assert wire.reader.at_eof()
        await port.nothing_is_left()


# The choice.


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn", "granian"])
def test_only_the_chosen_server_is_imported(server: str) -> None:
    others = {"hypercorn", "uvicorn", "granian"} - {server}
    code = (
        "import socket, sys\n"
        f"from {rest.__name__}.servers import http_server\n"
        f"from {rest.__name__}.settings import HttpSettings\n"
        f"http_server('http', print, socket.socket(), HttpSettings(server={server!r}))\n"
        f"assert not {others!r} & set(sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=False
    )
    assert run.returncode == 0
