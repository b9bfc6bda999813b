"""One client per transport, with equal methods, answers and failures."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Sequence
from typing import Any, TypeVar

from twinport.testing import (
    LocalService,
    rest_answer,
    rest_events,
    rest_exchange,
    rpc_answer,
    rpc_answers,
)

from {{ cookiecutter.__package }}.orders.v1 import orders_pb2 as pb
from {{ cookiecutter.__package }}.orders.v1.orders_pb2_grpc import OrderServiceStub

T = TypeVar("T")
Content = dict[str, Any]


async def soon(awaitable: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaitable, timeout=20)


class RestClient:
    def __init__(self, service: LocalService) -> None:
        self._http, self._port = service.rest, service.ports.http

    async def create_order(self, **content: Any) -> Content:
        return rest_answer(await self._http.post("/v1/orders", json=content))

    async def get_order(self, order_id: str) -> Content:
        return rest_answer(await self._http.get(f"/v1/orders/{order_id}"))

    async def list_orders(self, **query: Any) -> Content:
        return rest_answer(await self._http.get("/v1/orders", params=query))

    async def delete_order(self, order_id: str) -> None:
        rest_answer(await self._http.delete(f"/v1/orders/{order_id}"))

    async def watch_orders(self, **query: Any) -> AsyncIterator[Content]:
        async with self._http.stream("GET", "/v1/orders:watch", params=query) as answer:
            async for event in rest_events(answer):
                yield {"order": event.data, "resume_token": event.id}

    async def import_orders(self, news: Sequence[Content]) -> Content:
        lines = "".join(json.dumps(new) + "\n" for new in news)
        return rest_answer(await self._http.post("/v1/orders:import", content=lines))

    def quote_orders(self, items: AsyncIterable[Content]) -> AsyncIterator[Content]:
        return rest_exchange(self._port, "/v1/orders:quote", items)


class RpcClient:
    def __init__(self, service: LocalService) -> None:
        self._stub = OrderServiceStub(service.rpc)

    async def create_order(self, **content: Any) -> Content:
        return (await rpc_answer(self._stub.CreateOrder(pb.CreateOrderRequest(**content))))["order"]

    async def get_order(self, order_id: str) -> Content:
        return (await rpc_answer(self._stub.GetOrder(pb.GetOrderRequest(id=order_id))))["order"]

    async def list_orders(self, **query: Any) -> Content:
        return await rpc_answer(self._stub.ListOrders(pb.ListOrdersRequest(**query)))

    async def delete_order(self, order_id: str) -> None:
        await rpc_answer(self._stub.DeleteOrder(pb.DeleteOrderRequest(id=order_id)))

    def watch_orders(self, **query: Any) -> AsyncIterator[Content]:
        return rpc_answers(self._stub.WatchOrders(pb.WatchOrdersRequest(**query)))

    async def import_orders(self, news: Sequence[Content]) -> Content:
        return await rpc_answer(self._stub.ImportOrders(pb.ImportOrdersRequest(**n) for n in news))

    def quote_orders(self, items: AsyncIterable[Content]) -> AsyncIterator[Content]:
        requests = (pb.QuoteOrdersRequest(**item) async for item in items)
        return rpc_answers(self._stub.QuoteOrders(requests))


Client = RestClient | RpcClient
