"""The store in memory as two replicas have it, stores that fail, and the wiring with one."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NoReturn

from twinport import Service, UnavailableError

from {{ cookiecutter.__package }}.orders.domain import Orders, OrderStore
from {{ cookiecutter.__package }}.orders.memory import MemoryOrderStore
from {{ cookiecutter.__package }}.orders.model import Order, Placed
from {{ cookiecutter.__package }}.orders.rest import orders_router
from {{ cookiecutter.__package }}.orders.rpc import OrderServicer
from {{ cookiecutter.__package }}.orders.v1.orders_pb2_grpc import (
    add_OrderServiceServicer_to_server,
)
from {{ cookiecutter.__package }}.settings import Settings

Replicas = tuple[OrderStore, OrderStore]
Kind = Callable[[Settings], AbstractAsyncContextManager[Replicas]]


@asynccontextmanager
async def memory(_: Settings) -> AsyncIterator[Replicas]:
    """Both in one process: nobody else knows what is in its memory."""
    store = MemoryOrderStore()
    yield store, store
    store.end_watches()


def build_with(store: OrderStore) -> Callable[..., Awaitable[None]]:
    """Return what takes the place of `build` in app.py."""

    async def build(service: Service, settings: object) -> None:
        orders = Orders(store)
        service.rest.include_router(orders_router(orders))
        service.rpc.add(add_OrderServiceServicer_to_server, OrderServicer(orders))

    return build


class FailingStore:
    """Answers everything with one error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def _fail(self, *_: object) -> NoReturn:
        raise self._error

    add = find = remove = page = end = _fail


class BreakingStore(MemoryOrderStore):
    """Loses what it needs while a watch is open."""

    async def watch(self, after: int) -> AsyncGenerator[Placed, None]:
        for placed in await self.page(0, 1):
            yield placed
        raise UnavailableError("the database has gone")


class SlowStore(MemoryOrderStore):
    """Looks for the order "slow" for ever."""

    async def find(self, order_id: str) -> Order | None:
        if order_id == "slow":
            await asyncio.Event().wait()
        return await super().find(order_id)
