"""What one client can do to the REST port: it is refused or cut, others are served meanwhile."""

import asyncio
import logging
import struct
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    SettingsFrame,
)

from twinport.rest.servers.hypercorn.server import HypercornServer
from twinport.rest.settings import HttpLimits

from support.wire import CHUNK, GET, TIMEOUT_S, Answer, H2Wire, Port, Wire, healthy, serving

SHORT = {"header_time": "500ms", "send_time": "500ms", "idle_time": "500ms"}
FEW: dict[str, Any] = {"connections": 30, "streams": 20, "header_size": "12KiB"}
LARGEST_WINDOW = 2**31 - 1
NOTHING = Answer(None, b"", None)
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR = 0, 1, 2  # RFC 9113, 7
REFUSED, CANCEL, CALM_DOWN = 7, 8, 11


@pytest.fixture
async def port(quiet: None) -> Any:
    async with serving(HypercornServer, **SHORT, **FEW) as port:
        yield port


@pytest.fixture
async def patient(quiet: None) -> Any:
    async with serving(HypercornServer) as port:
        yield port


# Floods: frames that make work and bring nothing forward.


def rapid_resets(wire: H2Wire, times: int = 1000) -> None:
    for _ in range(times):
        wire.reset(wire.request("/listen"))  # those read before it was a flood hear of their end


def pings(wire: H2Wire) -> None:
    wire.send(*[PingFrame(0).serialize()] * 5000)


def settings(wire: H2Wire) -> None:
    wire.send(*[SettingsFrame(0).serialize()] * 5000)


def goaways(wire: H2Wire) -> None:
    wire.request("/listen")
    wire.send(*[GoAwayFrame(0).serialize()] * 5000)


def malformed_requests(wire: H2Wire) -> None:
    for _ in range(1000):
        wire.request(more=[(b"Upper", b"case")])


def priorities(wire: H2Wire) -> None:
    wire.send(*[PriorityFrame(stream_id).serialize() for stream_id in range(1, 10000, 2)])


def empty_data(wire: H2Wire) -> None:
    stream_id = wire.request("/echo", end=False)
    for _ in range(5000):
        wire.body(stream_id, b"")


def empty_data_that_nobody_reads(wire: H2Wire) -> None:
    stream_id = wire.request("/listen", end=False)
    for _ in range(5000):
        wire.body(stream_id, b"")


def window_updates(wire: H2Wire) -> None:
    for _ in range(10000):
        wire.window(0, 1)


def unknown_frames(wire: H2Wire) -> None:
    wire.send(*[struct.pack("!HBBBL", 0, 0, 0xBB, 0, 0)] * 5000)


def continuations(wire: H2Wire) -> None:
    head = HeadersFrame(1, wire.encoder.encode([(":method", "GET")])).serialize()
    wire.send(head, *[ContinuationFrame(1, b"").serialize()] * 5000)


def window_flips(wire: H2Wire) -> None:
    wire.request("/endless")
    for size in (0, 65535) * 2000:
        frame = SettingsFrame(0)
        frame.settings = {SettingsFrame.INITIAL_WINDOW_SIZE: size}
        wire.send(frame.serialize())


FLOODS = [
    rapid_resets,
    pings,
    settings,
    goaways,
    malformed_requests,
    priorities,
    empty_data,
    empty_data_that_nobody_reads,
    window_updates,
    unknown_frames,
    continuations,
    window_flips,
]


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_ends_its_connection_only(port: Port, flood: Callable[..., None]) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        flood(wire)
        await healthy(port.number)
        await wire.closed()
    await port.nothing_is_left()


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_that_reads_nothing_is_cut_too(
    port: Port, flood: Callable[..., None]
) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        flood(wire)
        await healthy(port.number)
        await port.nothing_is_left()


async def test_resets_that_are_read_a_few_at_a_time_leave_nothing(port: Port) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        for _ in range(10):
            rapid_resets(wire, 50)
            await port.probe.has_begun()
        await wire.closed()
    await port.nothing_is_left()


async def test_a_busy_client_is_no_flood(port: Port) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        for _ in range(1000):
            stream_id = wire.request()
            wire.send(PriorityFrame(stream_id).serialize())
            wire.window(0, 7)
            assert (await wire.answer(stream_id)).status == 200


async def test_a_client_that_gives_up_many_calls_is_no_flood(port: Port) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        for _ in range(150):
            given_up = wire.request("/listen")
            await port.probe.has_begun()
            wire.reset(given_up)
        assert (await wire.answer(wire.request())).status == 200


# Readers that do not read.


@pytest.mark.parametrize("streams", [1, 10])
async def test_a_closed_window_holds_no_memory_and_no_handler(port: Port, streams: int) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin(INITIAL_WINDOW_SIZE=0)
        for stream_id in [wire.request("/endless") for _ in range(streams)]:
            assert (await wire.answer(stream_id)).reset == CANCEL
        assert port.probe.sent_bytes <= streams * 2**17
        await healthy(port.number)
        await wire.closed()
    await port.nothing_is_left()


async def test_an_answer_that_waited_for_its_window_ends_with_its_last_data(port: Port) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin(INITIAL_WINDOW_SIZE=len(CHUNK) * 4 - 1)
        wire.window(0, LARGEST_WINDOW - 65535)
        stream_id = wire.request("/large")
        while len(wire.answers.get(stream_id, NOTHING).body) < len(CHUNK) * 4 - 1:
            wire.note(await wire.frame())
        wire.window(stream_id, 1)
        wire.note(last := await wire.frame())
        assert isinstance(last, DataFrame)
        assert (len(last.data), stream_id in wire.ended) == (1, True)


async def test_a_large_window_that_is_never_read_is_cut(port: Port) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin(INITIAL_WINDOW_SIZE=LARGEST_WINDOW)
        wire.window(0, LARGEST_WINDOW - 65535)
        wire.request("/endless")
        await healthy(port.number)
        await port.nothing_is_left()


async def test_an_answer_on_http1_that_is_never_read_is_cut(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n")
        await healthy(port.number)
        await port.nothing_is_left()


async def test_a_slow_reader_gets_all_of_its_answer(quiet: None) -> None:
    async with (
        serving(HypercornServer, send_time="1200ms") as port,
        H2Wire.open(port.number) as wire,
    ):
        wire.begin(INITIAL_WINDOW_SIZE=1000)
        stream_id = wire.request("/large")
        for _ in range(20):
            await wire.got(stream_id)
            await asyncio.sleep(0.1)  # slower than the limit as a whole, but it moves
            wire.window(0, 15000)
            wire.window(stream_id, 15000)
        answer = await wire.answer(stream_id)
    assert (len(answer.body), answer.reset) == (262144, None)


# Clients that leave.


async def test_what_a_client_has_asked_for_before_its_goaway_is_answered(patient: Port) -> None:
    async with H2Wire.open(patient.number) as wire:
        wire.begin()
        held, begun = wire.request("/hold"), wire.request("/stream")
        await patient.probe.has_begun(2)
        wire.send(GoAwayFrame(0).serialize())
        assert (await wire.answer(wire.request())).reset == REFUSED
        patient.probe.release.set()
        assert (await wire.answer(held)).body == b"held"
        assert (await wire.answer(begun)).body == b"begun ended"
        await wire.closed()
    await patient.nothing_is_left()


async def test_a_goaway_without_a_request_ends_the_connection(patient: Port) -> None:
    async with H2Wire.open(patient.number) as wire:
        wire.begin()
        await wire.answer(wire.request())
        wire.send(GoAwayFrame(0).serialize())
        for _ in range(3):  # a port that has closed would answer with a reset
            await asyncio.sleep(0.1)
            wire.send(PingFrame(0).serialize())
        async with asyncio.timeout(TIMEOUT_S):
            await wire.reader.read()
    await patient.nothing_is_left()


async def test_a_goaway_for_a_mistake_of_ours_ends_what_is_under_way(patient: Port) -> None:
    async with H2Wire.open(patient.number) as wire:
        wire.begin()
        wire.request("/listen")
        await patient.probe.has_begun()
        wire.send(GoAwayFrame(0, error_code=PROTOCOL_ERROR).serialize())
        await wire.closed()
    await patient.nothing_is_left()


@pytest.mark.parametrize("path", ["/endless", "/listen"])
async def test_nothing_is_left_of_clients_that_leave(port: Port, path: str) -> None:
    for _ in range(5):
        async with H2Wire.open(port.number) as wire, Wire.open(port.number) as old:
            wire.begin()
            wire.request(path)
            old.send(b"GET %s HTTP/1.1\r\nhost: a\r\n\r\n" % path.encode())
            await port.probe.has_begun(2)
    await port.nothing_is_left()


async def test_work_after_an_answer_goes_on_when_its_client_leaves(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(b"GET /background HTTP/1.1\r\nhost: a\r\n\r\n")
        await wire.until(b"answered")
    await healthy(port.number)
    assert port.probe.running == 1
    port.probe.release.set()
    await port.nothing_is_left()
    assert port.probe.cancelled == 0


# Early answers: the client still sends what nobody wants any more.


@pytest.mark.parametrize("frame_bytes", [64, 15000])
async def test_an_early_answer_arrives_and_harms_no_sibling(
    patient: Port, frame_bytes: int
) -> None:
    async with H2Wire.open(patient.number) as wire:
        wire.begin()
        sibling, early = wire.request("/hold"), wire.request("/early", end=False)
        wire.bodies(early, b"x" * frame_bytes, 30000 // frame_bytes)
        while wire.answers.get(early, (None,))[0] is None:
            wire.note(await wire.frame())
        wire.bodies(early, b"x" * frame_bytes, 30000 // frame_bytes)
        patient.probe.release.set()
        assert (await wire.answer(sibling)).body == b"held"
        answer = await wire.answer(early)
        assert (answer.status, answer.body) == (401, b"no")
        assert await wire.until_reset(early) == NO_ERROR
    await patient.nothing_is_left()


@pytest.mark.parametrize("late", [False, True])
async def test_bodies_that_nobody_reads_use_up_no_window(port: Port, late: bool) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        for _ in range(20):  # 1.2 MB, many times the window of the connection
            stream_id = wire.request("/early", end=False)
            await (wire.answer(stream_id) if late else asyncio.sleep(0))
            wire.bodies(stream_id, b"x" * 15000, 4)
            assert (await wire.answer(stream_id)).status == 401
        stream_id = wire.request(end=False)
        wire.body(stream_id, b"x" * 15000, end=True)
        assert (await wire.answer(stream_id)).body == b"15000 bytes"


async def test_a_body_that_nobody_reads_holds_up_no_sibling(port: Port) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        unread = wire.request("/hold", end=False)
        for _ in range(4):
            wire.body(unread, b"x" * 16000)
        assert (await wire.answer(wire.request())).status == 200


async def test_a_body_that_nobody_reads_is_not_taken_in(patient: Port) -> None:
    async with Wire.open(patient.number) as wire:
        wire.send(b"POST /hold HTTP/1.1\r\nhost: a\r\ncontent-length: 50000000\r\n\r\n")
        wire.send(b"x" * 50_000_000)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wire.all_sent(), 0.5)
        patient.probe.release.set()
    await patient.nothing_is_left()


async def test_an_early_answer_on_http1_can_be_read_by_who_still_sends(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(b"POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\n")
        wire.send(b"x" * 10_000_000)
        await wire.all_sent()
        assert (await wire.until(b"\r\n\r\nno")).split()[1] == b"401"
        await wire.closed()
    await port.nothing_is_left()


async def test_an_answer_that_breaks_off_does_not_look_whole(port: Port) -> None:
    async with H2Wire.open(port.number) as wire, Wire.open(port.number) as old:
        wire.begin()
        answer = await wire.answer(wire.request("/unfinished"))
        assert (answer.body, answer.reset) == (b"begun", INTERNAL_ERROR)
        old.send(b"GET /unfinished HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await old.closed()).endswith(b"\r\nbegun\r\n")  # without the last chunk


# Slow and silent clients.

PARTIAL_HEADERS = HeadersFrame(1, b"\x82" * 500).serialize()


async def say_nothing(wire: H2Wire) -> None:
    await wire.closed()


async def say_the_preface_only(wire: H2Wire) -> None:
    wire.begin()
    await wire.closed()


async def drip_a_head(wire: H2Wire) -> None:
    await wire.drip(GET[:-2] + b"x: " + b"y" * 200, 0.05)
    await wire.closed()


async def drip_a_second_head(wire: H2Wire) -> None:
    wire.send(GET)
    await wire.until(b"bytes")
    await drip_a_head(wire)


async def drip_headers(wire: H2Wire) -> None:
    wire.begin()
    await wire.drip(PARTIAL_HEADERS, 0.05)
    await wire.closed()


async def send_half_a_frame(wire: H2Wire) -> None:
    wire.begin()
    wire.send(PARTIAL_HEADERS[:20])
    await wire.closed()


async def leave_http1_idle(wire: H2Wire) -> None:
    wire.send(GET)
    await wire.closed()


async def leave_http2_idle(wire: H2Wire) -> None:
    wire.begin()
    await wire.answer(wire.request())
    assert (await wire.until_goaway()).error_code == NO_ERROR
    await wire.closed()


async def cancel_a_request(wire: H2Wire) -> None:
    wire.begin()
    wire.reset(wire.request("/listen"))
    await wire.closed()


async def ping_now_and_then(wire: H2Wire) -> None:
    wire.begin()
    await wire.answer(wire.request())
    await wire.drip(PingFrame(0).serialize() * 6, 0.02)
    await wire.closed()


SLOW = [
    say_nothing,
    say_the_preface_only,
    drip_a_head,
    drip_a_second_head,
    drip_headers,
    send_half_a_frame,
    leave_http1_idle,
    leave_http2_idle,
    cancel_a_request,
    ping_now_and_then,
]


CLOSED_S = 30  # of limits of half a second; the defaults are longer


@pytest.mark.parametrize("wait", SLOW)
async def test_a_client_that_makes_no_request_is_closed(port: Port, wait: Any) -> None:
    async with H2Wire.open(port.number) as wire, asyncio.timeout(CLOSED_S):
        await wait(wire)
    await healthy(port.number)
    await port.nothing_is_left()


async def test_a_request_that_takes_its_time_is_not_idle(port: Port) -> None:
    async with H2Wire.open(port.number) as wire, Wire.open(port.number) as old:
        wire.begin()
        stream_id = wire.request("/hold")
        old.send(b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n")
        await asyncio.sleep(1)  # twice every limit
        port.probe.release.set()
        assert (await wire.answer(stream_id)).body == b"held"
        await old.until(b"held")


@pytest.fixture
async def short_lived(quiet: None) -> Any:
    async with serving(HypercornServer, connection_age="200ms") as port:
        yield port


async def test_an_old_connection_on_http2_ends_between_two_requests(short_lived: Port) -> None:
    async with H2Wire.open(short_lived.number) as wire:
        wire.begin()
        last = wire.request("/slow")
        assert (await wire.answer(last)).body == b"slow"
        assert (await wire.until_goaway()).last_stream_id == last
        await wire.closed()


async def test_a_connection_that_was_old_before_it_spoke_http2_ends_too(short_lived: Port) -> None:
    async with H2Wire.open(short_lived.number) as wire:
        await asyncio.sleep(0.4)  # the connection has grown old
        wire.begin()
        last = wire.request("/slow")
        assert (await wire.answer(last)).body == b"slow"
        assert (await wire.until_goaway()).last_stream_id == last
        await wire.closed()


async def test_an_old_connection_that_is_never_idle_is_told_to_end(short_lived: Port) -> None:
    async with H2Wire.open(short_lived.number) as wire:
        wire.begin()
        stream_id = wire.request("/hold")
        assert (await wire.until_goaway()).last_stream_id == stream_id
        assert (await wire.answer(wire.request())).reset == REFUSED
        short_lived.probe.release.set()
        assert (await wire.answer(stream_id)).body == b"held"
        await wire.closed()


@pytest.mark.parametrize("pause_s", [0.0, 1.5])  # less, and more, than the port lingers for
async def test_the_last_answer_of_a_connection_arrives_over_a_slow_line(
    short_lived: Port, pause_s: float
) -> None:
    async with H2Wire.open_slowly(short_lived.number) as wire:
        wire.begin(INITIAL_WINDOW_SIZE=LARGEST_WINDOW)
        wire.window(0, LARGEST_WINDOW - 65535)
        stream_id = wire.request("/large")
        for _ in range(2):
            await asyncio.sleep(0.4 + pause_s)  # the connection has grown old
            wire.window(0, 1)  # a port that has closed would answer it with a reset
        assert len((await wire.answer(stream_id)).body) == 262144
        await wire.until_goaway()
        await wire.closed()
    await short_lived.nothing_is_left()


# Requests that are not right, or too much.


async def test_a_bad_path_is_refused_and_harms_no_sibling(port: Port) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        sibling = wire.request("/hold")
        assert (await wire.answer(wire.request(b"/\xff"))).status == 400
        port.probe.release.set()
        assert (await wire.answer(sibling)).body == b"held"


async def test_a_bad_path_is_refused_also_to_who_still_sends(patient: Port) -> None:
    async with H2Wire.open(patient.number) as wire:
        wire.begin()
        refused = wire.request(b"/\xff", end=False)
        assert (await wire.answer(refused)).status == 400
        assert await wire.until_reset(refused) == NO_ERROR


async def test_bad_paths_leave_their_connection_room_for_a_request(patient: Port) -> None:
    async with H2Wire.open(patient.number) as wire:
        wire.begin()
        for _ in range(2 * HttpLimits().streams):
            assert (await wire.answer(wire.request(b"/\xff"))).status == 400
        assert (await wire.answer(wire.request())).status == 200


async def test_bad_paths_leave_the_port_room_for_a_client(port: Port) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(FEW["connections"]):
            wire = await stack.enter_async_context(H2Wire.open(port.number))
            wire.begin()
            wire.request(b"/\xff")
        await port.nothing_is_left()
        await healthy(port.number)


MALFORMED = [  # RFC 9113, 8.2 and 8.3
    [(b"Upper", b"case")],
    [(b"connection", b"close")],
    [(b"te", b"gzip")],
    [(b"content-length", b"soon")],
    [(b"x", b" a ")],
    [(b"x", b"a\0b")],
    [(b":path", b"/twice")],
    [(b":made-up", b"a")],
]


@pytest.mark.parametrize("more", MALFORMED)
@pytest.mark.parametrize("end", [True, False])
async def test_a_malformed_request_is_reset_and_harms_no_sibling(
    port: Port, more: list[tuple[bytes, bytes]], end: bool
) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        sibling = wire.request("/hold")
        malformed = wire.request(end=end, more=more)
        if not end:
            wire.body(malformed, b"x" * 1000)
        assert (await wire.answer(malformed)).reset == PROTOCOL_ERROR
        assert (await wire.answer(wire.request())).status == 200
        port.probe.release.set()
        assert (await wire.answer(sibling)).body == b"held"
    await port.nothing_is_left()


@pytest.mark.parametrize(("said", "sent", "end"), [(b"10", 11, False), (b"10", 9, True)])
async def test_a_body_of_another_length_is_reset_and_harms_no_sibling(
    port: Port, said: bytes, sent: int, end: bool
) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        sibling = wire.request("/hold")
        wrong = wire.request(end=False, more=[(b"content-length", said)])
        wire.body(wrong, b"x" * sent, end=end)
        assert (await wire.answer(wrong)).reset == PROTOCOL_ERROR
        port.probe.release.set()
        assert (await wire.answer(sibling)).body == b"held"
    await port.nothing_is_left()


PING_ON_A_STREAM = b"\x00\x00\x08\x06\x00\x00\x00\x00\x01"  # forbidden (RFC 9113, 6.7)


async def test_who_breaks_the_rules_of_http2_reads_why_while_still_sending(port: Port) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        wire.send(PING_ON_A_STREAM, b"x" * 10_000_000)
        await wire.all_sent()  # raises if the port resets the connection
        assert (await wire.until_goaway()).error_code == PROTOCOL_ERROR
        await wire.closed()
    await port.nothing_is_left()


async def test_who_breaks_the_rules_of_http1_reads_why_while_still_sending(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(b"no request\r\n\r\n", b"x" * 10_000_000)
        await wire.all_sent()
        assert (await wire.closed()).split()[1] == b"400"
    await port.nothing_is_left()


async def test_too_many_streams_are_refused_one_by_one(port: Port) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        streams = [wire.request("/hold") for _ in range(30)]
        refused = [(await wire.answer(stream_id)).reset for stream_id in streams[20:]]
        assert refused == [REFUSED] * 10
        port.probe.release.set()
        answered = [(await wire.answer(stream_id)).body for stream_id in streams[:20]]
        assert answered == [b"held"] * 20


async def test_a_client_is_told_its_limits_first(port: Port) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        first = await wire.frame()
        assert isinstance(first, SettingsFrame)
        assert first.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == FEW["streams"]
        assert first.settings[SettingsFrame.MAX_HEADER_LIST_SIZE] == 12 * 1024  # as in FEW


async def test_too_many_connections_are_closed(port: Port) -> None:
    wires = [await asyncio.open_connection("127.0.0.1", port.number) for _ in range(40)]
    async with asyncio.timeout(TIMEOUT_S):
        assert [await reader.read() for reader, _ in wires[30:]] == [b""] * 10
    for _, writer in wires:
        writer.close()
    await port.nothing_is_left()
    await healthy(port.number)


@pytest.mark.parametrize("size", [13000, 200_000])
async def test_a_large_head_is_refused(port: Port, size: int) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(GET[:-2], b"x: ", b"y" * size, b"\r\n\r\n")
        assert (await wire.until(b"\r\n")).split()[1] == b"431"
        await wire.closed()
    await port.nothing_is_left()


async def test_a_head_that_is_large_only_when_unpacked_is_refused(port: Port) -> None:
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        wire.request(more=[(b"x", b"y" * 1000)] * 20)
        assert (await wire.until_goaway()).error_code == CALM_DOWN
        await wire.closed()
    await port.nothing_is_left()


async def test_an_upgrade_is_answered_on_http1(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        upgrade = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: \r\n\r\n"
        wire.send(GET[:-2], upgrade)
        assert (await wire.until(b"bytes")).split()[1] == b"200"


async def test_an_answer_does_not_say_what_has_made_it(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(GET)
        assert b"\nserver:" not in (await wire.until(b"\r\n\r\n")).lower()


async def test_the_log_of_hypercorn_gets_no_handler_of_its_own(port: Port) -> None:
    await healthy(port.number)
    assert logging.getLogger("hypercorn.error").handlers == []


async def test_a_connection_on_http1_may_ask_as_often_as_it_likes(patient: Port) -> None:
    async with Wire.open(patient.number) as wire:
        for _ in range(1100):  # hypercorn itself would end it after a thousand
            wire.send(GET)
            assert (await wire.until(b"0 bytes")).split()[1] == b"200"


async def test_garbage_is_refused(port: Port) -> None:
    async with Wire.open(port.number) as wire:
        wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert (await wire.closed()).split()[1] == b"400"
    await port.nothing_is_left()
