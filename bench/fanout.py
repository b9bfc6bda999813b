"""One new order to many watches: CPU time of the server process, and memory, over REST and gRPC.

Fails if, of the most watches, an order over REST costs more than LIMITS times one over gRPC in the
same run, or a watch keeps more than LIMIT_KB.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import grpc.aio
import uvloop
from load import QUANTITY, SKU
from order_book.orders.v1 import orders_pb2 as pb
from order_book.orders.v1.orders_pb2_grpc import OrderServiceStub
from processor import nanoseconds
from running import BenchError, listening
from variants import Variant

from twinport.testing import free_port

COUNTS, ROUNDS = (1, 100, 1000), 15
LIMITS = {"uvicorn": 0.8, "hypercorn": 1.4}
LIMIT_KB = 30.0
STREAMS, AT_ONCE = 100, 50  # on a gRPC connection; watches that are being opened
PATIENCE_S = 120
ORDER = b'{"sku":"%b","quantity":%d}' % (SKU.encode(), QUANTITY)
WATCH = b"GET /v1/orders:watch HTTP/1.1\r\nhost: bench\r\n\r\n"
CREATE = (
    b"POST /v1/orders HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(ORDER), ORDER)
)

Watch = Callable[[], Awaitable[object]]  # waits for the next event
Create = Callable[[], Awaitable[object]]  # creates an order


class Watched(Variant):
    """A service of which one address may have all watches."""

    def command(self, port: int) -> list[str]:
        """Return what starts it on `port`, without the interpreter."""
        names = ("calls.max_streams", "calls.max_streams_per_client", "http.limits.connections")
        return [*super().command(port), *(f"--set={name}={2 * max(COUNTS)}" for name in names)]


class Cost(NamedTuple):
    """What one order to all watches takes, and what one watch keeps."""

    milliseconds: float
    kilobytes: float


async def main() -> int:
    """Return the exit status: 1 if something costs too much."""
    costs = {server: await costs_of(server) for server in ("grpc", *LIMITS)}
    print(f"{'one order to':24}" + "".join(f"{count:>8} watches" for count in COUNTS))
    for server, each in costs.items():
        row = "".join(f"{cost.milliseconds:>13.1f} ms" for cost in each)
        print(f"{server:24}{row}{each[-1].kilobytes:>10.1f} KB a watch")
    return judged({server: each[-1] for server, each in costs.items()})


def judged(costs: dict[str, Cost]) -> int:
    """Say how each compares, and return the exit status."""
    rpc, failed = costs["grpc"].milliseconds, False
    for server, limit in LIMITS.items():
        ratio, kept = costs[server].milliseconds / rpc, costs[server].kilobytes
        print(f"fan-out: {server} {ratio:.2f} x gRPC, at most {limit}; at most {LIMIT_KB} KB")
        failed |= ratio > limit or kept > LIMIT_KB
    return int(failed)


async def costs_of(server: str) -> list[Cost]:
    """Measure with more and more watches of one process; raises BenchError."""
    opened = rpc_watches if server == "grpc" else rest_watches
    with (
        TemporaryDirectory() as folder,
        listening(Watched("ours", server), (), port := free_port(), Path(folder)) as process,
    ):
        async with asyncio.timeout(PATIENCE_S), opened(port) as (watch, create):
            return await _measured(process.pid, watch, create)


async def _measured(pid: int, watch: Callable[[], Awaitable[Watch]], create: Create) -> list[Cost]:
    watches = [await watch()]
    await told(watches, create)
    before, costs = resident_kb(pid), []
    for count in COUNTS:
        while len(watches) < count:
            more = min(AT_ONCE, count - len(watches))
            watches += await asyncio.gather(*(watch() for _ in range(more)))
        kept = (resident_kb(pid) - before) / max(1, count - 1)
        used = [await _used(pid, watches, create) for _ in range(ROUNDS)]
        costs.append(Cost(median(used), kept))
    return costs


async def _used(pid: int, watches: list[Watch], create: Create) -> float:
    before = nanoseconds(pid)
    await told(watches, create)
    return (nanoseconds(pid) - before) / 1e6


async def told(watches: list[Watch], create: Create) -> None:
    """Create an order and wait until all have heard of it."""
    await asyncio.gather(create(), *(next_event() for next_event in watches))


@asynccontextmanager
async def rest_watches(
    port: int,
) -> AsyncIterator[tuple[Callable[[], Awaitable[Watch]], Create]]:
    """Yield what opens a watch on a connection of its own, as browsers do, and what creates."""
    async with AsyncExitStack() as stack:

        async def connected() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(abort, writer)
            return reader, writer

        async def watch() -> Watch:
            reader, writer = await connected()

            async def next_event() -> None:
                await reader.readuntil(b"id: ")
                await reader.readuntil(b"\n\n")

            writer.write(WATCH)
            await next_event()
            return next_event

        reader, writer = await connected()

        async def create() -> None:
            writer.write(CREATE)
            await reader.readuntil(b'"quantity":')

        yield watch, create


@asynccontextmanager
async def rpc_watches(
    port: int,
) -> AsyncIterator[tuple[Callable[[], Awaitable[Watch]], Create]]:
    """Yield what opens a watch, and what creates an order."""
    own = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
    async with AsyncExitStack() as stack:
        stubs: list[OrderServiceStub] = []
        opened = 0

        async def stub() -> OrderServiceStub:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", own)
            return OrderServiceStub(await stack.enter_async_context(channel))

        async def watch() -> Watch:
            nonlocal opened
            if opened % STREAMS == 0:
                stubs.append(await stub())
            opened += 1
            call = stubs[-1].WatchOrders(pb.WatchOrdersRequest())
            await call.read()
            return call.read

        creating = await stub()
        new = pb.CreateOrderRequest(sku=SKU, quantity=QUANTITY)
        yield watch, lambda: creating.CreateOrder(new)


def abort(writer: asyncio.StreamWriter) -> None:
    """Drop a connection; who keeps only its transport loses it, as a writer closes at its end."""
    writer.transport.abort()


def resident_kb(pid: int) -> int:
    """Return the memory that a process keeps, in kilobytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


if __name__ == "__main__":
    try:
        sys.exit(uvloop.run(main()))
    except BenchError as error:
        sys.exit(f"fan-out: {error}")
