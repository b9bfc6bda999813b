"""SIGTERM while fifty clients call at once over all transports."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import grpc
import httpx2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from twinport.service.ports import Ports

from support.process import TIMEOUT_S, Service, started

CLIENTS = 51  # a third of them for each transport
ENOUGH = 200  # answers, before the signal comes
CALLED = ("POST /v1/orders ", f"{pb.DESCRIPTOR.package}.OrderService/CreateOrder ")
ENDED = (grpc.aio.AioRpcError, httpx2.HTTPError)

Call = Callable[[], Awaitable[None]]


@asynccontextmanager
async def rest(ports: Ports, *, http2: bool) -> AsyncIterator[Call]:
    url, order = f"http://127.0.0.1:{ports.http}/v1/orders", {"sku": "tea", "quantity": 1}
    async with httpx2.AsyncClient(http1=not http2, http2=http2, verify=False, timeout=20) as http:

        async def call() -> None:
            (await http.post(url, json=order)).raise_for_status()

        yield call


@asynccontextmanager
async def rpc(ports: Ports) -> AsyncIterator[Call]:
    options = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each client
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}", options=options) as channel:
        stub, order = OrderServiceStub(channel), pb.CreateOrderRequest(sku="tea", quantity=1)

        async def call() -> None:
            await stub.CreateOrder(order)

        yield call


def client(number: int, ports: Ports) -> AbstractAsyncContextManager[Call]:
    return rpc(ports) if number % 3 == 0 else rest(ports, http2=number % 3 == 1)


class Load:
    """Clients that call again as soon as they are answered, until `leave` is set."""

    def __init__(self, ports: Ports) -> None:
        self.answers, self.leave, self.enough = 0, asyncio.Event(), asyncio.Event()
        self._clients = [asyncio.create_task(self._calling(n, ports)) for n in range(CLIENTS)]

    async def failures(self) -> list[BaseException]:
        """Return why clients have left that were not asked to."""
        async with asyncio.timeout(TIMEOUT_S):
            ended = await asyncio.gather(*self._clients, return_exceptions=True)
        return [error for error in ended if error is not None]

    async def _calling(self, number: int, ports: Ports) -> None:
        async with client(number, ports) as call:
            while not self.leave.is_set():
                await call()
                self._count()

    def _count(self) -> None:
        self.answers += 1
        if self.answers >= ENOUGH:
            self.enough.set()


def begun(service: Service) -> int:
    """Return how many calls the service has worked on, however they ended."""
    return sum(line["message"].startswith(CALLED) for line in service.lines)


async def unready(ports: Ports) -> None:
    """Wait until the service says that it is about to stop, as a load balancer does."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        watch = HealthStub(channel).Watch(HealthCheckRequest())
        while (await watch.read()).status != HealthCheckResponse.NOT_SERVING:
            pass


async def test_who_leaves_during_the_drain_loses_no_call():
    async with started(lifecycle__drain="10s") as service:
        ports = await service.ports()
        load, told = Load(ports), asyncio.ensure_future(unready(ports))
        async with asyncio.timeout(TIMEOUT_S):
            await load.enough.wait()
            service.terminate()
            await told
        load.leave.set()
        assert await load.failures() == []
        service.terminate()  # all have left: the rest of the drain is of no use
        assert await service.exit_status() == 0
        assert begun(service) == load.answers


async def test_who_never_leaves_is_answered_whatever_was_begun():
    async with started() as service:
        load = Load(await service.ports())
        async with asyncio.timeout(TIMEOUT_S):
            await load.enough.wait()
        service.terminate()
        assert await service.exit_status() == 0
        failures = await load.failures()
        assert [error for error in failures if not isinstance(error, ENDED)] == []
        assert len(failures) == CLIENTS
        assert begun(service) == load.answers
