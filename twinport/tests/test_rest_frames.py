"""What hypercorn's port sends: header blocks, frames of HTTP/2, writes, reason phrases."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import hpack
import pytest
from hyperframe.frame import DataFrame, Frame
from hypothesis import given, strategies as st

from twinport.rest.servers.connections import BoundedWriter
from twinport.rest.servers.hypercorn import HypercornServer
from twinport.rest.servers.hypercorn.http2_frames import HeaderEncoder

from support.wire import GET, H2Wire, Port, Probe, Wire, serving

IDS = [(b"x-trace-id", b"1f" * 16), (b"x-request-id", b"order-7")]
NAMES = [b":status", b"content-type", b"Content-Length", b"content-length", b"date", b"x-Own", b""]
VALUES = [b"", b"200", b"404", b"application/json", b"tea", b"x" * 126, b"x" * 127, b"y" * 5000]
NOT_SENT = {b"connection", b"transfer-encoding", b"te"}
HEADERS = st.tuples(
    st.sampled_from([*NAMES, *NOT_SENT, b"TE", *(name for name, _ in IDS), b"authorization"]),
    st.sampled_from(VALUES),
)
SIZES = st.lists(st.integers(0, 4096), max_size=2)  # what a client may choose, in bytes


@given(st.lists(st.tuples(SIZES, st.lists(HEADERS, max_size=8)), max_size=12))
def test_any_header_block_is_read_as_it_was_meant(blocks: list[Any]):
    encoder, decoder = HeaderEncoder(), hpack.Decoder()
    for sizes, headers in blocks:
        for size in sizes:
            encoder.header_table_size = size
        meant = [(name.lower(), value) for name, value in headers]
        read = [*decoder.decode(encoder.encode(headers), raw=True)]
        assert read == [each for each in meant if each[0] not in NOT_SENT]
        assert decoder.header_table.dynamic_entries == encoder.header_table.dynamic_entries


def test_ids_are_plain_and_never_indexed():
    encoder = HeaderEncoder()
    encoder.encode([(b":status", b"200"), (b"content-type", b"application/json")])
    before = [*encoder.header_table.dynamic_entries]
    block = encoder.encode(IDS)
    assert block == b"".join(
        b"\x10%c%b%c%b" % (len(name), name, len(value), value) for name, value in IDS
    )
    assert [*encoder.header_table.dynamic_entries] == before


def test_what_every_answer_has_is_one_byte_a_header():
    encoder = HeaderEncoder()
    same = [(b":status", b"200"), (b"content-type", b"application/json"), (b"date", b"Sat, 28")]
    encoder.encode([*same, (b"content-length", b"72"), *IDS])
    for length in range(100):
        encoder.encode([*same, (b"content-length", b"%d" % length), *IDS])
    assert len(encoder.encode(same)) == len(same)


class Seeing(H2Wire):
    """Keeps every frame."""

    def __init__(self, *ends: Any) -> None:
        super().__init__(*ends)
        self.seen: list[Frame] = []

    def note(self, frame: Frame) -> None:
        self.seen.append(frame)
        super().note(frame)


class Parts(Probe):
    """Answers in parts, without waiting between them."""

    async def parts(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in range(3):
            await send({"type": "http.response.body", "body": b"%d" % part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def silent(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.release.wait()


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    async with serving(HypercornServer) as port:
        port.server.app = port.probe = Parts()
        yield port


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What each write sends."""
    sent: list[bytes] = []
    push = BoundedWriter.push

    def noted(writer: BoundedWriter, data: bytes) -> None:
        sent.append(data)
        push(writer, data)

    monkeypatch.setattr(BoundedWriter, "push", noted)
    return sent


async def test_what_a_turn_sends_of_an_answer_is_one_frame_of_data(port: Port):
    async with Seeing.open(port.number) as wire:
        wire.begin()
        await wire.answer(wire.request("/parts"))
    [data] = [frame for frame in wire.seen if isinstance(frame, DataFrame)]
    assert (data.data, data.flags) == (b"012", {"END_STREAM"})


async def test_the_answers_of_a_turn_leave_in_one_write(port: Port, writes: list[bytes]):
    async with H2Wire.open(port.number) as wire:
        wire.begin()
        await wire.answer(wire.request())
        held = [wire.request("/hold") for _ in range(3)]
        await port.probe.has_begun(4)
        writes.clear()
        port.probe.release.set()
        await wire.ends(4)
    assert [wire.answers[each].body for each in held] == [b"held"] * 3
    assert len([each for each in writes if b"held" in each]) == 1


async def test_a_window_that_shrinks_is_kept_to(port: Port):
    async with H2Wire.open(port.number) as wire:
        wire.begin(INITIAL_WINDOW_SIZE=2)
        stream_id = wire.request("/parts")
        await wire.got(stream_id)
        await wire.got(stream_id)
        assert wire.answers[stream_id].body == b"01"
        wire.window(stream_id, 1)
        assert (await wire.answer(stream_id)).body == b"012"


async def test_who_does_not_read_gets_no_more_answers_than_fit(port: Port, monkeypatch):
    def full(_: BoundedWriter) -> int:
        return 1

    taken = asyncio.Event()

    async def slow(writer: BoundedWriter, data: bytes) -> None:
        writer.push(data)
        await taken.wait()

    async with H2Wire.open(port.number) as wire:
        wire.begin()
        await wire.answer(wire.request())
        monkeypatch.setattr(BoundedWriter, "backlog", property(full))
        monkeypatch.setattr(BoundedWriter, "write", slow)
        stream_id = wire.request()
        await wire.got(stream_id)
        await wire.got(stream_id)
        assert (wire.answers[stream_id].body, port.probe.running) == (b"0 bytes", 1)
        taken.set()
        await wire.answer(stream_id)
    await port.nothing_is_left()


async def test_head_and_body_of_an_answer_leave_in_one_write(port: Port, writes: list[bytes]):
    async with Wire.open(port.number) as wire:
        wire.send(GET)
        await wire.until(b"0 bytes")
    [answer] = writes
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (GET, b"HTTP/1.1 200 OK"),
        (GET.replace(b"/", b"/early", 1), b"HTTP/1.1 401 Unauthorized"),
        (GET.replace(b"/", b"/parts", 1), b"HTTP/1.1 200 OK"),
        (b"GET / HTTP/1.1\n\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"GET /%b HTTP/1.1\r\nhost: a\r\n\r\n" % (b"x" * 40_000), b"HTTP/1.1 431 Request Header"),
    ],
    ids=["ok", "refused", "in chunks", "no request", "too large"],
)
async def test_an_answer_has_a_reason_phrase(port: Port, request_: bytes, line: bytes):
    async with Wire.open(port.number) as wire:
        wire.send(request_)
        assert (await wire.until(b"\r\n")).startswith(line)


async def test_the_head_of_a_stream_does_not_wait_for_its_body(port: Port):
    async with Wire.open(port.number) as wire:
        wire.send(GET.replace(b"/", b"/silent", 1))
        await wire.until(b"\r\n\r\n")
