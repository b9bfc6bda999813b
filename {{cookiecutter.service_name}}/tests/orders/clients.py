"""One client per transport, with equal methods, answers and failures."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Sequence
from typing import Any, NamedTuple, TypeVar

import grpc
import httpx
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest
from grpc_status import rpc_status
from orders.duplex import Duplex

from {{ cookiecutter.__package }}.orders.v1 import orders_pb2 as pb
from {{ cookiecutter.__package }}.orders.v1.orders_pb2_grpc import OrderServiceStub
from {{ cookiecutter.__package }}.runtime.service import Ports

T = TypeVar("T")
Content = dict[str, Any]


async def soon(awaitable: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaitable, timeout=5)


class Refusal(NamedTuple):
    """What a caller reads of an error, on either transport."""

    code: str
    detail: str
    fields: frozenset[tuple[str, str]]


class RefusedError(Exception):
    @property
    def refusal(self) -> Refusal:
        return self.args[0]


class RestClient:
    """Speaks one version of HTTP only, as a silent fall-back to the other would prove nothing."""

    def __init__(self, ports: Ports, *, http2: bool = True) -> None:
        self._port = ports.http
        url = f"http://127.0.0.1:{ports.http}/v1"
        self.http = httpx.AsyncClient(base_url=url, http1=not http2, http2=http2)

    async def create_order(self, **content: Any) -> Content:
        return _body(await self.http.post("/orders", json=content))

    async def get_order(self, order_id: str) -> Content:
        return _body(await self.http.get(f"/orders/{order_id}"))

    async def list_orders(self, **query: Any) -> Content:
        return _body(await self.http.get("/orders", params=query))

    async def delete_order(self, order_id: str) -> None:
        _body(await self.http.delete(f"/orders/{order_id}"))

    async def watch_orders(self, **query: Any) -> AsyncIterator[Content]:
        async with self.http.stream("GET", "/orders:watch", params=query) as answer:
            if answer.is_error:
                await answer.aread()
                _body(answer)
            async for event in _events(answer.aiter_lines()):
                content = json.loads(event.get("data", "null"))
                _raise_problem(content if event.get("event") == "problem" else {})
                yield {"order": content, "resume_token": event["id"]}

    async def import_orders(self, news: Sequence[Content]) -> Content:
        lines = "".join(json.dumps(new) + "\n" for new in news)
        return _body(await self.http.post("/orders:import", content=lines))

    async def quote_orders(self, items: AsyncIterable[Content]) -> AsyncIterator[Content]:
        async with Duplex.post(self._port, "/v1/orders:quote") as duplex:
            asking = asyncio.create_task(_ask(duplex, items))
            async for line in duplex.lines():
                answer = json.loads(line)
                _raise_problem(answer)
                yield answer
            await asking

    async def close(self) -> None:
        await self.http.aclose()


async def _ask(duplex: Duplex, items: AsyncIterable[Content]) -> None:
    async for item in items:
        duplex.send(json.dumps(item).encode() + b"\n")
    duplex.send(b"", end=True)


async def _events(lines: AsyncIterable[str]) -> AsyncIterator[dict[str, str]]:
    """Yield the fields of each server-sent event."""
    event: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.partition(": ")
        if name:
            event[name] = value
        elif event:
            yield event
            event = {}


def _body(answer: httpx.Response) -> Any:
    body = answer.json() if answer.content else None
    if answer.is_error:
        assert answer.headers["content-type"] == "application/problem+json"
        assert body["status"] == answer.status_code
        _raise_problem(body)
    return body


def _raise_problem(body: Content) -> None:
    if "code" in body:
        fields = frozenset((wrong["field"], wrong["description"]) for wrong in body["errors"])
        raise RefusedError(Refusal(body["code"], body["detail"], fields))


class RpcClient:
    def __init__(self, ports: Ports) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}")
        self._stub = OrderServiceStub(self._channel)

    async def create_order(self, **content: Any) -> Content:
        return (await _answer(self._stub.CreateOrder(pb.CreateOrderRequest(**content))))["order"]

    async def get_order(self, order_id: str) -> Content:
        return (await _answer(self._stub.GetOrder(pb.GetOrderRequest(id=order_id))))["order"]

    async def list_orders(self, **query: Any) -> Content:
        return await _answer(self._stub.ListOrders(pb.ListOrdersRequest(**query)))

    async def delete_order(self, order_id: str) -> None:
        await _answer(self._stub.DeleteOrder(pb.DeleteOrderRequest(id=order_id)))

    async def watch_orders(self, **query: Any) -> AsyncIterator[Content]:
        async for seen in _answers(self._stub.WatchOrders(pb.WatchOrdersRequest(**query))):
            yield seen

    async def import_orders(self, news: Sequence[Content]) -> Content:
        return await _answer(self._stub.ImportOrders(pb.ImportOrdersRequest(**n) for n in news))

    async def quote_orders(self, items: AsyncIterable[Content]) -> AsyncIterator[Content]:
        requests = (pb.QuoteOrdersRequest(**item) async for item in items)
        async for quote in _answers(self._stub.QuoteOrders(requests)):
            yield quote

    async def close(self) -> None:
        await self._channel.close()


async def _answer(call: Awaitable[Message]) -> Content:
    try:
        return _plain(await call)
    except grpc.aio.AioRpcError as error:
        raise RefusedError(_refusal(error)) from error


async def _answers(call: AsyncIterable[Message]) -> AsyncIterator[Content]:
    try:
        async for message in call:
            yield _plain(message)
    except grpc.aio.AioRpcError as error:
        raise RefusedError(_refusal(error)) from error


def _refusal(error: grpc.aio.AioRpcError) -> Refusal:
    wrong = BadRequest()
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        detail.Unpack(wrong)  # what is of another type leaves it alone
    fields = frozenset((field.field, field.description) for field in wrong.field_violations)
    return Refusal(error.code().name, error.details() or "", fields)


def _plain(message: Message) -> Content:
    """Return every field, also those with default values; a message that is not set is None."""
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields}


def _value(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is None:
        return value
    if field.is_repeated:
        return [_plain(each) for each in value]
    return _plain(value) if message.HasField(field.name) else None


Client = RestClient | RpcClient
