"""What one order to many watches costs, over REST beside gRPC in the same run."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import grpc.aio
import pytest

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from twinport.service.ports import Ports

from support.process import started
from support.wire import Wire

WATCHES, TIMES = 400, 20
CPUCLOCK_SCHED = 2  # of Linux
STREAMS = 100  # of a gRPC connection
# Times gRPC; with the response of FastAPI it was 3.1 and 4.5, as it has tasks and queues.
MOST = {"uvicorn": 1.3, "hypercorn": 2.0}

Next = Callable[[], Awaitable[object]]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux tells of other processes")
@pytest.mark.parametrize("server", MOST)
async def test_an_order_to_many_watches_costs_little_more_than_over_grpc(server: str):
    async with watched(server, over_rest) as rest, watched(server, over_grpc) as rpc:
        ratios = [await rest() / await rpc() for _ in range(TIMES)]
    assert median(ratios) < MOST[server]


@asynccontextmanager
async def watched(server: str, opened: Any) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Yield what returns the CPU time, in nanoseconds, of one order to all watches."""
    most = str(WATCHES)
    async with (
        started(
            http__server=server, calls__max_streams=most, calls__max_streams_per_client=most
        ) as service,
        opened(await service.ports(), WATCHES) as watches,
        order(await service.ports()) as create,
    ):
        keep_on_one_core(service.process.pid)
        yield lambda: fan_out(service.process.pid, create, watches)


def keep_on_one_core(pid: int) -> None:
    """Have all threads of a process run where those of the other one do: cores differ in speed."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {min(os.sched_getaffinity(0))})


async def fan_out(pid: int, create: Next, watches: list[Next]) -> int:
    before = time.clock_gettime_ns(~pid << 3 | CPUCLOCK_SCHED)  # clock_getcpuclockid(3)
    await asyncio.gather(create(), *(next_event() for next_event in watches))
    return time.clock_gettime_ns(~pid << 3 | CPUCLOCK_SCHED) - before


@asynccontextmanager
async def order(ports: Ports) -> AsyncIterator[Next]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        stub: Any = OrderServiceStub(channel)
        yield lambda: stub.CreateOrder(pb.CreateOrderRequest(sku="tea", quantity=1))


@asynccontextmanager
async def over_rest(ports: Ports, count: int) -> AsyncIterator[list[Next]]:
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire.open(ports.http)) for _ in range(count)]
        watches = [after(wire) for wire in wires]
        for wire in wires:
            wire.send(b"GET /v1/orders:watch HTTP/1.1\r\nhost: a\r\n\r\n")
        for next_event in watches:
            await next_event()
        yield watches


def after(wire: Wire) -> Next:
    async def next_event() -> None:
        await wire.reader.readuntil(b"id: ")
        await wire.reader.readuntil(b"\n\n")

    return next_event


@asynccontextmanager
async def over_grpc(ports: Ports, count: int) -> AsyncIterator[list[Next]]:
    own = [("grpc.use_local_subchannel_pool", 1)]
    async with AsyncExitStack() as stack:
        opened = (
            grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}", own)
            for _ in range(0, count, STREAMS)
        )
        channels = [await stack.enter_async_context(channel) for channel in opened]
        stubs: list[Any] = [OrderServiceStub(channel) for channel in channels]
        asked = pb.WatchOrdersRequest()
        watches = [stubs[number // STREAMS].WatchOrders(asked) for number in range(count)]
        for watch in watches:
            await watch.read()
        yield [watch.read for watch in watches]
