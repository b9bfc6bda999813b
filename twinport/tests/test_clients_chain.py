"""A caller over REST, a service that calls on over gRPC, and the service behind it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import pytest
from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic import SecretStr

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import (
    OrderServiceServicer,
    OrderServiceStub,
    add_OrderServiceServicer_to_server,
)
from sample.settings import Settings
from twinport import Service
from twinport.auth.permissions import Principal
from twinport.calls import Call, current
from twinport.clients.clients import connect
from twinport.clients.http_client import HttpClient
from twinport.clients.outgoing_call import Outgoing
from twinport.clients.settings import ClientSettings
from twinport.errors import DeadlineExceededError
from twinport.service.ports import Ports

LONG_S = 60.0  # more than any caller leaves
LATE_S = 5  # what the way to a service may take on a busy machine


class Last(OrderServiceServicer):
    """Hangs until it is cancelled."""

    def __init__(self) -> None:
        self.call: asyncio.Future[Call | None] = asyncio.Future()
        self.cancelled = asyncio.Event()
        vars(self).update(GetOrder=self.get, WatchOrders=self.watch)

    async def built(self, service: Service, settings: Settings) -> None:
        service.rpc.add(add_OrderServiceServicer_to_server, self)

    async def get(self, request: pb.GetOrderRequest, context: object) -> pb.GetOrderResponse:
        await self._hang()
        return pb.GetOrderResponse()

    async def watch(
        self, request: pb.WatchOrdersRequest, context: object
    ) -> AsyncIterator[pb.WatchOrdersResponse]:
        yield pb.WatchOrdersResponse(resume_token="first")
        await self._hang()

    async def _hang(self) -> None:
        self.call.set_result(current.get())
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


async def edge(service: Service, settings: Settings) -> None:
    """Answer over REST with what the next service says over gRPC."""
    stub: Any = OrderServiceStub(service.client("next"))

    @service.rest.get("/order")
    async def order() -> None:
        await stub.GetOrder(pb.GetOrderRequest(), timeout=LONG_S)

    @service.rest.get("/watch")
    async def watch() -> StreamingResponse:
        news = stub.WatchOrders(pb.WatchOrdersRequest())
        return StreamingResponse(seen.resume_token async for seen in news)


@pytest.fixture
async def last() -> Last:
    return Last()


@pytest.fixture
async def http(
    last: Last, settings: Settings, serving: Callable[..., Any]
) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(settings, last.built) as behind:
        clients = {"next": ClientSettings(target=f"localhost:{behind.grpc}")}
        calling = settings.model_copy(update={"clients": clients})
        async with serving(calling, edge) as first, caller(first) as http:
            yield http


def caller(ports: Ports) -> httpx2.AsyncClient:
    settings = ClientSettings(url=f"http://127.0.0.1:{ports.http}")
    return HttpClient(Outgoing("edge", settings, ()))


async def soon(awaitable: Any) -> Any:
    async with asyncio.timeout(20):
        return await awaitable


async def test_a_rest_caller_who_hangs_up_ends_the_call_that_was_made_for_it(
    http: httpx2.AsyncClient, last: Last
):
    call = asyncio.create_task(http.get("/order", timeout=LONG_S))
    await soon(last.call)
    call.cancel()
    await asyncio.wait([call])
    await soon(last.cancelled.wait())


async def test_a_rest_caller_who_leaves_a_stream_ends_the_one_behind_it(
    http: httpx2.AsyncClient, last: Last
):
    async with http.stream("GET", "/watch") as answer:
        chunks = answer.aiter_bytes()  # which closes the stream once nobody holds it
        assert await soon(anext(chunks)) == b"first"
        await soon(last.call)
    await soon(last.cancelled.wait())


async def test_no_call_is_given_more_time_than_the_rest_caller_has_left(
    http: httpx2.AsyncClient, last: Last
):
    until = asyncio.get_running_loop().time() + 2
    with pytest.raises(DeadlineExceededError):
        await soon(http.get("/order", timeout=2))
    call = await soon(last.call)
    assert call.deadline < until + LATE_S
    await soon(last.cancelled.wait())


class Heard(OrderServiceServicer):
    """Notes every token that it is sent."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        vars(self).update(GetOrder=self.get)

    async def built(self, service: Service, settings: Settings) -> None:
        service.rpc.add(add_OrderServiceServicer_to_server, self)

        @service.rest.get("/order")
        async def order(request: Request) -> None:
            self.tokens += request.headers.getlist("authorization")

    async def get(self, request: pb.GetOrderRequest, context: Any) -> pb.GetOrderResponse:
        metadata = context.invocation_metadata()
        self.tokens += [value for key, value in metadata if key == "authorization"]
        return pb.GetOrderResponse()


@pytest.fixture
def calling() -> Iterator[None]:
    """This test runs as a call of somebody with a token."""
    call = Call("grpc", "a" * 32, "b" * 16)
    call.principal = Principal("alice", token=SecretStr("of-alice"))
    before = current.set(call)
    yield
    current.reset(before)


async def test_a_token_that_a_call_is_given_by_hand_goes_first(
    settings: Settings, serving: Callable[..., Any], calling: None
):
    heard, own = Heard(), {"authorization": "Bearer own"}
    async with serving(settings, heard.built) as ports:
        url, target = f"http://127.0.0.1:{ports.http}", f"localhost:{ports.grpc}"
        client = ClientSettings(url=url, target=target, forward_token=True)
        async with connect(client) as channel, HttpClient(Outgoing("next", client, ())) as http:
            get = OrderServiceStub(channel).GetOrder
            await soon(get(pb.GetOrderRequest(), metadata=tuple(own.items())))
            await soon(http.get("/order", headers=own))
            await soon(get(pb.GetOrderRequest()))
            await soon(http.get("/order"))
    assert heard.tokens == ["Bearer own"] * 2 + ["Bearer of-alice"] * 2
