"""No part of a call waits for the kernel to send it, whatever the size of the body."""

import asyncio
import os
import re
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from hyperframe.frame import Frame, SettingsFrame, WindowUpdateFrame

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from sample.settings import Settings
from twinport.service.ports import Ports

from support.wire import TIMEOUT_S, H2Wire, Wire

SIZES = (0, 1, 4, 16, 64, 256)  # of a body, in KB
TIMES = 25
MUCH = 6  # times: to wait for a delayed ACK takes 40 ms, and a call works for a few
FRAME_BYTES = 16384
WINDOW_BYTES = 65535  # unless the server says another one (RFC 9113, 6.9.2)
LENGTH = re.compile(rb"content-length: ([0-9]+)")

Serving = Callable[..., Any]
Call = Callable[[int], Awaitable[None]]  # with a body of so many bytes


class Uploading(H2Wire):
    """Sends bodies of any size, as the windows allow."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.window, self.sent = WINDOW_BYTES, Counter[int]()
        self.given = Counter({0: WINDOW_BYTES})

    def note(self, frame: Frame) -> None:
        if isinstance(frame, WindowUpdateFrame):
            self.given[frame.stream_id] += frame.window_increment
        elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.window = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, self.window)
            self.send(SettingsFrame(0, flags=["ACK"]).serialize())
        else:
            super().note(frame)

    async def call(self, size: int) -> None:
        stream_id = self.request("/v1/orders", end=not size)
        self.given[stream_id] += self.window
        for begin in range(0, size, FRAME_BYTES):
            part = b"x" * min(FRAME_BYTES, size - begin)
            await self.room(stream_id, len(part))
            self.body(stream_id, part, end=begin + FRAME_BYTES >= size)
            self.sent.update({0: len(part), stream_id: len(part)})
        assert (await self.answer(stream_id)).status == (415 if size else 200)

    async def room(self, stream_id: int, size: int) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while min(self.given[each] - self.sent[each] for each in (0, stream_id)) < size:
                self.note(await self.frame())


@asynccontextmanager
async def by_http2(ports: Ports) -> AsyncIterator[Call]:
    async with Uploading.open(ports.http) as wire:
        wire.begin()
        yield wire.call


@asynccontextmanager
async def by_http1(ports: Ports) -> AsyncIterator[Call]:
    async with Wire.open(ports.http) as wire:

        async def call(size: int) -> None:
            method = b"POST" if size else b"GET"
            head = b"%b /v1/orders HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"
            wire.send(head % (method, size), b"x" * size)
            answer = (await wire.until(b"\r\n\r\n")).lower()
            assert answer.split()[1] == (b"415" if size else b"200")
            await wire.reader.readexactly(int(LENGTH.findall(answer)[0]))

        yield call


@asynccontextmanager
async def by_grpc(ports: Ports) -> AsyncIterator[Call]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        stub: Any = OrderServiceStub(channel)

        async def call(size: int) -> None:
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.GetOrder(pb.GetOrderRequest(id="x" * size))

        yield call


WAYS = [
    ("hypercorn", by_http1),
    ("hypercorn", by_http2),
    ("uvicorn", by_http1),
    ("granian", by_http1),
    ("granian", by_http2),
    ("hypercorn", by_grpc),
]


def served(settings: Settings, server: str) -> Settings:
    return settings.model_copy(update={"http": settings.http.model_copy(update={"server": server})})


@pytest.mark.parametrize(("server", "by"), WAYS)
async def test_a_call_with_a_body_waits_for_little_more_than_one_without(
    serving: Serving, settings: Settings, server: str, by: Any
) -> None:
    async with serving(served(settings, server)) as ports, by(ports) as call:
        rounds = [[await slowness(call, size * 1024) for size in SIZES] for _ in range(TIMES)]
    without, *with_body = map(undisturbed, zip(*rounds, strict=True))
    ratios = {size: slow / without for size, slow in zip(SIZES[1:], with_body, strict=True)}
    assert {size: ratio for size, ratio in ratios.items() if ratio > MUCH} == {}


def undisturbed(slowness: Sequence[float]) -> float:
    """Return the quartile of the calls that other work of the machine disturbs least."""
    return statistics.quantiles(slowness)[0]


async def slowness(call: Call, size: int) -> float:
    """Return what a call takes for each second that its ends, which are in this process, work.

    That others of a busy machine work meanwhile counts as work: a long call meets more of it.
    """
    kept = kept_waiting_s()
    begin, worked = time.perf_counter(), time.process_time()
    await call(size)
    took, worked = time.perf_counter() - begin, time.process_time() - worked
    return took / (worked + kept_waiting_s() - kept)


def kept_waiting_s() -> float:
    """Return how long our threads have waited for a processor; 0 where the kernel does not tell."""
    waited_ns = 0
    for thread in Path("/proc/self/task").glob("*/schedstat"):  # sched-stats.rst of Linux
        with suppress(OSError):  # it has ended
            waited_ns += int(thread.read_text().split()[1])
    return waited_ns / 1e9


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn", "granian"])
async def test_every_port_sends_the_parts_of_an_answer_at_once(
    serving: Serving, settings: Settings, server: str
) -> None:
    async with serving(served(settings, server)) as ports:
        sends = {name: await sending(port) for name, port in ports._asdict().items()}
    assert sends == dict.fromkeys(Ports._fields, "at once")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how many may wait")
@pytest.mark.parametrize("server", ["hypercorn", "uvicorn", "granian"])
async def test_a_thousand_clients_that_come_at_once_wait_to_be_accepted_on_every_port(
    serving: Serving, settings: Settings, server: str
) -> None:
    async with serving(served(settings, server)) as ports:
        numbers = [int(number) for number in os.listdir("/dev/fd")]
        waiting = {port: max(may_wait(port, number) for number in numbers) for port in ports}
    assert min(waiting.values()) >= 1000, waiting


def may_wait(port: int, number: int) -> int:
    """Return how many may wait at a socket to be accepted; 0 for what does not listen on `port`."""
    with suppress(OSError), borrowed(socket.AF_INET, socket.SOCK_STREAM, 0, number) as end:
        if end.getsockname()[1:2] == (port,) and end.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        ):
            said = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
            return int.from_bytes(said[28:], sys.byteorder)  # tcpi_sacked, of one that listens
    return 0


async def sending(port: int) -> str:
    """Ask the port's end of a connection, which is in this process too."""
    async with H2Wire.open(port) as wire:
        wire.begin()
        await wire.reader.readexactly(1)  # so it is accepted
        client = wire.writer.get_extra_info("sockname")
        ends = [sending_to(client, int(number)) for number in os.listdir("/dev/fd")]
        [of_the_port] = filter(None, ends)
    return of_the_port


def sending_to(client: tuple[str, int], number: int) -> str | None:
    """Return how a socket sends to `client`, or None for what does not lead there."""
    tcp = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with suppress(OSError), borrowed(*tcp, number) as end:
        if end.getpeername()[1:2] == client[1:]:  # the host may be written as of IPv6
            at_once = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            return "at once" if at_once else "with delay"
    return None


@contextmanager
def borrowed(*kind_and_number: int) -> Iterator[socket.socket]:
    """Give a descriptor back as it was, open."""
    end = socket.socket(*kind_and_number)
    try:
        yield end
    finally:
        end.detach()
