"""Callers without a pause on both transports, and what a cluster has between them and replicas.

`python rollout_load.py FILE PORT`, with the Python of an installed order-book: each line of FILE is
a replica, its ports of http and management, and its address for gRPC, on PORT. Over REST there is a
balancer, as a Service is one; over gRPC a name server that names all, as for a headless Service;
both follow readiness, which is asked here and told by a real cluster in tests/kubernetes. It prints
a record when a replica becomes ready or is so no more. SIGUSR1 begins the calls, of which it prints
each hundred, and SIGTERM ends them.
"""

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.request import Request, urlopen

from order_book.orders.v1.orders_pb2 import CreateOrderRequest
from order_book.orders.v1.orders_pb2_grpc import OrderServiceStub

from support.name_server import NameServer
from twinport.clients import ClientSettings, connect, connect_http

ASKING_S, PAUSE_S, EACH = 0.1, 0.05, 100
PATIENCE = timedelta(minutes=1)  # with a busy machine
ORDER = {"sku": "tea", "quantity": 2}


class Replica:
    """Where one replica listens, and whether it is ready."""

    def __init__(self, line: str) -> None:
        self.http, self.management, self.address = line.split()
        self.is_ready = False

    async def follow(self) -> None:
        """Ask it whether it is ready, for good."""
        while True:
            is_ready = await asyncio.to_thread(self._ask)
            if is_ready != self.is_ready:
                tell(f"{'ready' if is_ready else 'gone'} {self.management}")
            self.is_ready = is_ready
            await asyncio.sleep(ASKING_S)

    def _ask(self) -> bool:
        try:
            return bool(urlopen(f"http://127.0.0.1:{self.management}/readyz", timeout=30).read())
        except OSError:  # it is away, or answers 503
            return False


class Balancer:
    """Takes connections for REST, and tells the addresses for gRPC."""

    def __init__(self) -> None:
        self.names = NameServer()
        self.for_rest: Sequence[tuple[str, int]] = ()  # address and port of who is ready
        self._turn = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass a connection on to the next replica that is ready."""
        with suppress(OSError, asyncio.CancelledError):  # the latter at the end
            self._turn += 1
            address = self.for_rest[self._turn % len(self.for_rest)]
            there = await asyncio.open_connection(*address)
            await asyncio.gather(pumped(reader, there[1]), pumped(there[0], writer))


class Processes:
    """The replicas that a file names."""

    def __init__(self, file: Path) -> None:
        self._replicas: list[Replica] = []
        self._file = file

    async def follow(self, balancer: Balancer) -> None:
        """Add replicas as they are written down, and name those that are ready, for good."""
        following = set()
        while True:
            following |= {asyncio.create_task(replica.follow()) for replica in self._added()}
            ready = [replica for replica in self._replicas if replica.is_ready]
            balancer.for_rest = [("127.0.0.1", int(replica.http)) for replica in ready]
            balancer.names.addresses = tuple(replica.address for replica in ready)
            await asyncio.sleep(ASKING_S)

    def _added(self) -> list[Replica]:
        lines = self._file.read_text().splitlines()
        added = [Replica(line) for line in lines[len(self._replicas) :]]
        self._replicas += added
        return added


async def pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, and its end."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class Callers:
    """Call without a pause until `stop`; count what was answered, and keep what was not."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self.answered: Counter[str] = Counter()
        self.failed: list[str] = []

    async def go_on(self, name: str, call: Callable[[], Awaitable[object]]) -> None:
        while not self._stop.is_set():
            try:
                await call()
                self._count(name)
            except Exception as error:
                self.failed.append(f"{name}: {type(error).__name__}: {error}")
            await asyncio.sleep(PAUSE_S)

    def _count(self, name: str) -> None:
        self.answered[name] += 1
        if self.answered[name] % EACH == 0:
            tell(f"{name} {self.answered[name]}")


def tell(message: str, **more: object) -> None:
    print(json.dumps({"message": message, **more}), flush=True)


def post(url: str) -> int:
    """Create an order over a connection of its own; it is not safe to repeat."""
    headers = {"content-type": "application/json"}
    with urlopen(Request(url, json.dumps(ORDER).encode(), headers), timeout=60) as answer:
        return answer.status


async def main(follow: Callable[[Balancer], Coroutine[None, None, None]], port: str) -> None:
    """Follow who is ready, and call them from SIGUSR1 to SIGTERM, or until that ends."""
    balancer, start, stop = Balancer(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, start.set)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    following = asyncio.create_task(follow(balancer))
    following.add_done_callback(lambda _: (start.set(), stop.set()))
    server = await asyncio.start_server(balancer.connected, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with balancer.names.running():
        await start.wait()
        await called(url, f"dns://127.0.0.1:{balancer.names.port}/orders.test:{port}", stop)
    following.cancel()


async def called(url: str, target: str, stop: asyncio.Event) -> None:
    """Call until `stop`, and tell what came of it."""
    rest = ClientSettings(url=url, deadline=PATIENCE)
    rpc = ClientSettings(target=target, deadline=PATIENCE)
    callers, order = Callers(stop), CreateOrderRequest(**ORDER)
    async with connect(rpc) as channel, connect_http(rest) as client:
        create = OrderServiceStub(channel).CreateOrder
        calls = {
            "grpc": lambda: create(order),
            "kept": lambda: client.get("/v1/orders"),
            "post": lambda: asyncio.to_thread(post, f"{url}/v1/orders"),
        }
        await asyncio.gather(*(callers.go_on(*each) for each in calls.items()))
    tell("ended", answered=callers.answered, failed=callers.failed)


if __name__ == "__main__":
    asyncio.run(main(Processes(Path(sys.argv[1])).follow, sys.argv[2]))
