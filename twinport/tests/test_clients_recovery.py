"""A caller outlives the service that it calls: it goes on when that one is back."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from twinport.clients.clients import connect
from twinport.clients.http_client import HttpClient
from twinport.clients.outgoing_call import Outgoing
from twinport.clients.settings import ClientSettings
from twinport.errors import UnavailableError
from twinport.service.ports import Ports
from twinport.testing import free_port

from support.process import started

Call = Callable[[], Awaitable[object]]


def lasting() -> dict[str, str]:
    """Return ports on which the service can be started again."""
    return {"http__port": str(free_port()), "grpc__port": str(free_port())}


async def answered(call: Call) -> None:
    """Call until there is an answer; until then the service may only be unavailable."""
    async with asyncio.timeout(20):
        while await is_unavailable(call):
            pass


async def is_unavailable(call: Call) -> bool:
    try:
        await call()
    except UnavailableError:
        return True
    return False


async def outlived(call: Call, ports: Ports) -> None:
    """Call where nobody is any more, then the service that takes its place."""
    with pytest.raises(UnavailableError):
        await call()
    async with started(http__port=str(ports.http), grpc__port=str(ports.grpc)) as second:
        await second.ports()
        await answered(call)
        await call()


async def test_grpc_calls_recover_by_themselves():
    async with started(**lasting()) as first:
        ports = await first.ports()
        settings = ClientSettings(target=f"localhost:{ports.grpc}")
        async with connect(settings, "next") as channel:
            stub = OrderServiceStub(channel)
            create = pb.CreateOrderRequest(sku="tea", quantity=1)
            await stub.CreateOrder(create)
            first.process.kill()
            await first.exit_status()
            await outlived(lambda: stub.CreateOrder(create), ports)


TEA = {"sku": "tea", "quantity": 1}


def opened(ports: Ports) -> HttpClient:
    url = f"http://localhost:{ports.http}"
    return HttpClient(Outgoing("next", ClientSettings(url=url), ()))


async def test_rest_calls_recover_by_themselves():
    async with started(**lasting()) as first:
        ports = await first.ports()
        async with opened(ports) as http:
            await http.post("/v1/orders", json=TEA)
            first.process.kill()
            await first.exit_status()
            await outlived(lambda: http.post("/v1/orders", json=TEA), ports)


async def test_a_rest_call_does_not_notice_that_the_service_was_killed_since_the_last():
    async with AsyncExitStack() as kept:
        async with started(**lasting()) as first:
            ports = await first.ports()
            http = await kept.enter_async_context(opened(ports))
            await http.post("/v1/orders", json=TEA)
            first.process.kill()
            await first.exit_status()
        second = await kept.enter_async_context(started(http__port=str(ports.http)))
        await second.ports()
        assert (await http.post("/v1/orders", json=TEA)).is_success
