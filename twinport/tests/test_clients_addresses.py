"""A name with several addresses, such as that of a headless service of Kubernetes."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import (
    OrderServiceServicer,
    OrderServiceStub,
    add_OrderServiceServicer_to_server,
)
from sample.settings import Settings
from twinport import Service
from twinport.clients.clients import connect
from twinport.clients.settings import ClientSettings

from support.name_server import NameServer

ONE, OTHER = ("127.0.0.1", "127.0.0.2") if sys.platform == "linux" else ("127.0.0.1", "::1")


class Replica(OrderServiceServicer):
    """Answers, and notes by which address."""

    def __init__(self, address: str, answered: list[str]) -> None:
        self._address, self._answered = address, answered
        vars(self).update(GetOrder=self.get)

    async def get(self, request: pb.GetOrderRequest, context: object) -> pb.GetOrderResponse:
        self._answered.append(self._address)
        return pb.GetOrderResponse()

    async def built(self, service: Service, settings: Settings) -> None:
        service.rpc.add(add_OrderServiceServicer_to_server, self)


class Replicas:
    """Services at one port of several addresses; `answered` says which ones were called."""

    def __init__(self, settings: Settings, serving: Callable[..., Any]) -> None:
        self._settings, self._serving = settings, serving
        self.answered: list[str] = []
        self.port = 0

    async def start(self, address: str) -> AsyncExitStack:
        """Start the one at `address`; what is returned stops it."""
        there = self._settings.grpc.model_copy(update={"host": address, "port": self.port})
        running = AsyncExitStack()
        settings = self._settings.model_copy(update={"grpc": there})
        replica = Replica(address, self.answered)
        ports = await running.enter_async_context(self._serving(settings, replica.built))
        self.port = ports.grpc
        return running


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    names = NameServer(ONE)
    async with names.running():
        yield names


@pytest.fixture
def replicas(settings: Settings, serving: Callable[..., Any]) -> Replicas:
    return Replicas(settings, serving)


@asynccontextmanager
async def called(names: NameServer, replicas: Replicas) -> AsyncIterator[Callable[..., Any]]:
    """Yield what calls a method of the service with that name."""
    target = f"dns://127.0.0.1:{names.port}/orders.test:{replicas.port}"
    async with connect(ClientSettings(target=target)) as channel, asyncio.timeout(15):
        yield partial(OrderServiceStub(channel).GetOrder, pb.GetOrderRequest())


async def test_all_addresses_of_a_name_take_turns(names: NameServer, replicas: Replicas):
    names.addresses = (ONE, OTHER)
    async with (
        await replicas.start(ONE),
        await replicas.start(OTHER),
        called(names, replicas) as get,
    ):
        while set(replicas.answered) != {ONE, OTHER}:
            await get()
        del replicas.answered[:]
        for _ in range(20):
            await get()
    assert replicas.answered.count(ONE) == 10


async def test_a_name_that_moves_is_found_again(names: NameServer, replicas: Replicas):
    first = await replicas.start(ONE)
    async with await replicas.start(OTHER), called(names, replicas) as get:
        await get()
        names.addresses = (OTHER,)
        await first.aclose()
        await get(timeout=15, wait_for_ready=True)
    assert replicas.answered == [ONE, OTHER]
