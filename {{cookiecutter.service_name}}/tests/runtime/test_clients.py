"""Calls from one service to others: real services, in this process or in their own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import grpc
import httpx
import pytest

from {{ cookiecutter.__package }}.app import build
from {{ cookiecutter.__package }}.orders.v1 import orders_pb2 as pb
from {{ cookiecutter.__package }}.orders.v1.orders_pb2_grpc import (
    OrderServiceServicer,
    OrderServiceStub,
    add_OrderServiceServicer_to_server,
)
from {{ cookiecutter.__package }}.runtime.calls.call import Call, current
from {{ cookiecutter.__package }}.runtime.clients.settings import ClientRetries, ClientSettings
from {{ cookiecutter.__package }}.runtime.errors import (
    DeadlineExceededError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OverloadedError,
    StartupError,
    UnavailableError,
)
from {{ cookiecutter.__package }}.runtime.service import Ports, Service
from {{ cookiecutter.__package }}.settings import Settings

from process import started

UNKNOWN = pb.GetOrderRequest(id="unknown")
FIELDS = [FieldViolation("sku", "no such article"), FieldViolation("quantity", "too many")]
ERRORS = [
    InvalidArgumentError("wrong", fields=FIELDS),
    NotFoundError("no such order"),
    OverloadedError("busy"),
    InternalError("internal error"),
]


class Hop(OrderServiceServicer):
    """Hands every call on to the next service, if there is one; else answers or hangs."""

    def __init__(self, channel: grpc.aio.Channel | None = None) -> None:
        self.next = None if channel is None else OrderServiceStub(channel)
        self.seen: asyncio.Future[Call | None] = asyncio.Future()
        self.cancelled = asyncio.Event()
        self.error: Exception = NotFoundError("no such order")
        vars(self).update(GetOrder=self.get, DeleteOrder=self.delete, WatchOrders=self.watch)

    async def get(self, request: pb.GetOrderRequest, context: object) -> pb.GetOrderResponse:
        if self.next is None:
            raise self.error
        return await self.next.GetOrder(request)

    async def delete(
        self, request: pb.DeleteOrderRequest, context: object
    ) -> pb.DeleteOrderResponse:
        self.seen.set_result(current.get())
        try:
            if self.next is not None:
                return await self.next.DeleteOrder(request)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return pb.DeleteOrderResponse()

    async def watch(
        self, request: pb.WatchOrdersRequest, context: object
    ) -> AsyncIterator[pb.WatchOrdersResponse]:
        news = endless() if self.next is None else self.next.WatchOrders(request)
        try:
            async for seen in news:
                yield seen
        finally:
            self.cancelled.set()


async def endless() -> AsyncIterator[pb.WatchOrdersResponse]:
    yield pb.WatchOrdersResponse(resume_token="first")
    await asyncio.Event().wait()


class Fleet:
    """Services in this process; each calls the one that was added before it."""

    def __init__(self, settings: Settings, serving: Callable[..., Any]) -> None:
        self._settings, self._serving = settings, serving
        self._open = AsyncExitStack()
        self.hops: list[Hop] = []
        self.ports: Ports | None = None

    async def add(self, **chosen: Any) -> Hop:
        """Start another service, which calls the last one with `chosen` settings."""
        settings = self._settings.model_copy(update={"clients": self._clients(chosen)})

        async def built(service: Service, settings: Settings) -> None:
            self.hops.append(Hop(service.client("next") if settings.clients else None))
            service.rpc.add(add_OrderServiceServicer_to_server, self.hops[-1])

        self.ports = await self._open.enter_async_context(self._serving(settings, built))
        return self.hops[-1]

    async def stub(self, **chosen: Any) -> OrderServiceStub:
        """Return what calls the last service, as a service itself would."""
        hop = await self.add(**chosen)
        assert hop.next is not None
        return hop.next

    async def close(self) -> None:
        await self._open.aclose()

    def _clients(self, chosen: dict[str, Any]) -> dict[str, ClientSettings]:
        if self.ports is None:
            return {}
        return {"next": ClientSettings(target=f"localhost:{self.ports.grpc}", **chosen)}


@pytest.fixture
async def fleet(settings: Settings, serving: Callable[..., Any]) -> AsyncIterator[Fleet]:
    fleet = Fleet(settings, serving)
    yield fleet
    await fleet.close()


@pytest.fixture
async def chain(fleet: Fleet) -> AsyncIterator[Any]:
    """A stub in front of three services that call each other."""
    for _ in range(3):
        await fleet.add()
    assert fleet.ports
    async with grpc.aio.insecure_channel(f"localhost:{fleet.ports.grpc}") as channel:
        yield OrderServiceStub(channel)


async def soon(awaitable: Any) -> Any:
    async with asyncio.timeout(5):
        return await awaitable


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
async def test_an_error_crosses_three_services_as_it_was(fleet: Fleet, error: Exception):
    hop = await fleet.add()
    hop.error = error
    await fleet.add()
    stub = await fleet.stub()
    with pytest.raises(type(error)) as caught:
        await soon(stub.GetOrder(UNKNOWN))
    assert (str(caught.value), caught.value.fields) == (str(error), error.fields)


async def test_a_deadline_set_at_the_edge_holds_in_all_three(chain: Any, fleet: Fleet):
    loop = asyncio.get_running_loop()
    until = loop.time() + 0.5
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await soon(chain.DeleteOrder(pb.DeleteOrderRequest(id="1"), timeout=0.5))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    for hop in fleet.hops:
        call = hop.seen.result()
        assert call
        assert call.deadline is not None
        assert call.deadline <= until + 0.1
        await soon(hop.cancelled.wait())


async def test_a_cancelled_call_is_cancelled_in_all_three(chain: Any, fleet: Fleet):
    call = chain.DeleteOrder(pb.DeleteOrderRequest(id="1"))
    await soon(fleet.hops[0].seen)  # the last in the chain
    call.cancel()
    for hop in fleet.hops:
        await soon(hop.cancelled.wait())


async def test_a_stream_that_is_left_ends_in_all_three(chain: Any, fleet: Fleet):
    call = chain.WatchOrders(pb.WatchOrdersRequest())
    assert (await soon(call.read())).resume_token == "first"
    call.cancel()
    for hop in fleet.hops:
        await soon(hop.cancelled.wait())


async def test_the_deadline_of_the_settings_bounds_a_call(fleet: Fleet):
    await fleet.add()
    stub = await fleet.stub(deadline=timedelta(milliseconds=200))
    with pytest.raises(DeadlineExceededError):
        await soon(stub.DeleteOrder(pb.DeleteOrderRequest(id="1")))


async def test_the_request_id_is_handed_on(fleet: Fleet):
    last = await fleet.add()
    await fleet.add()
    assert fleet.ports
    async with grpc.aio.insecure_channel(f"localhost:{fleet.ports.grpc}") as channel:
        metadata = (("x-request-id", "order-4711"),)
        call = OrderServiceStub(channel).DeleteOrder(pb.DeleteOrderRequest(), metadata=metadata)
        seen = await soon(last.seen)
        call.cancel()
    assert seen.request_id == "order-4711"


async def test_a_client_that_is_not_in_the_settings_stops_the_start(
    settings: Settings, serving: Callable[..., Any]
):
    async def built(service: Service, settings: Settings) -> None:
        service.client("inventory")

    with pytest.raises(StartupError, match=r"clients\.inventory: not in the settings"):
        async with serving(settings, built):
            pass


async def test_a_caller_recovers_when_the_other_process_is_killed_and_started_again(fleet: Fleet):
    async with started() as first:
        fleet.ports = await first.ports()
        port = str(fleet.ports.grpc)
        stub = await fleet.stub()
        with pytest.raises(NotFoundError):
            await soon(stub.GetOrder(UNKNOWN))
        first.process.kill()
        await first.exit_status()
        with pytest.raises(UnavailableError, match=r"^next is not available$"):
            await soon(stub.CreateOrder(pb.CreateOrderRequest(sku="tea", quantity=1)))
    async with started(grpc__port=port) as second:
        await second.ports()
        created = await soon(
            stub.CreateOrder(pb.CreateOrderRequest(sku="tea", quantity=1), wait_for_ready=True)
        )
        assert created.order.sku == "tea"


async def test_a_service_that_is_required_decides_about_readiness(
    settings: Settings, serving: Callable[..., Any], fleet: Fleet
):
    await fleet.add()
    await fleet.add(required=True)
    assert fleet.ports
    readyz = f"http://127.0.0.1:{fleet.ports.management}/readyz"
    async with httpx.AsyncClient() as http:
        assert (await http.get(readyz)).status_code == 200
    nobody = ClientSettings(target="localhost:1", required=True)
    lonely = settings.model_copy(update={"clients": {"inventory": nobody}})

    async def built(service: Service, settings: Settings) -> None:
        service.client("inventory")

    async with serving(lonely, built) as ports, httpx.AsyncClient(timeout=10) as http:
        answer = await http.get(f"http://127.0.0.1:{ports.management}/readyz")
    assert answer.status_code == 503
    assert "clients.inventory" in answer.text


class Http:
    """An HTTP client of the service at `ports`, opened by a service."""

    def __init__(self, settings: Settings, serving: Callable[..., Any]) -> None:
        self._settings, self._serving = settings, serving
        self._open = AsyncExitStack()

    async def client(self, url: str, **chosen: Any) -> httpx.AsyncClient:
        clients = {"next": ClientSettings(url=url, **chosen)}
        settings = self._settings.model_copy(update={"clients": clients})
        opened: list[httpx.AsyncClient] = []

        async def built(service: Service, settings: Settings) -> None:
            opened.append(service.http_client("next"))

        await self._open.enter_async_context(self._serving(settings, built))
        return opened[0]

    async def close(self) -> None:
        await self._open.aclose()


@pytest.fixture
async def http(settings: Settings, serving: Callable[..., Any]) -> AsyncIterator[Http]:
    http = Http(settings, serving)
    yield http
    await http.close()


async def test_rest_is_called_over_http_2(http: Http, ports: Ports):
    client = await http.client(f"http://127.0.0.1:{ports.http}")
    answer = await client.get("/v1/orders")
    assert (answer.status_code, answer.http_version) == (200, "HTTP/2")


async def test_a_problem_is_raised_as_the_error_that_it_was(http: Http, ports: Ports):
    client = await http.client(f"http://127.0.0.1:{ports.http}")
    with pytest.raises(NotFoundError, match="no such order"):
        await client.get("/v1/orders/unknown")
    with pytest.raises(InvalidArgumentError) as caught:
        await client.post("/v1/orders", json={"sku": "tea", "quantity": 0})
    assert [violation.field for violation in caught.value.fields] == ["quantity"]


async def test_a_rest_call_ends_with_its_deadline(
    http: Http, settings: Settings, serving: Callable[..., Any]
):
    left = asyncio.Event()

    async def built(service: Service, settings: Settings) -> None:
        @service.rest.get("/slow")
        async def slow() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                left.set()

    async with serving(settings, built) as ports:
        client = await http.client(
            f"http://127.0.0.1:{ports.http}", deadline=timedelta(milliseconds=200)
        )
        with pytest.raises(DeadlineExceededError, match="next did not answer in time"):
            await soon(client.get("/slow"))
        await soon(left.wait())


async def test_only_what_is_safe_is_sent_again(
    http: Http, settings: Settings, serving: Callable[..., Any]
):
    tried: list[str] = []

    async def built(service: Service, settings: Settings) -> None:
        @service.rest.api_route("/away", methods=["GET", "POST"])
        async def away() -> None:
            call = current.get()
            tried.append(call.method if call else "")
            raise UnavailableError("away for a moment")

    async with serving(settings, built) as ports:
        client = await http.client(f"http://127.0.0.1:{ports.http}")
        with pytest.raises(UnavailableError, match="away for a moment"):
            await soon(client.get("/away"))
        with pytest.raises(UnavailableError, match="away for a moment"):
            await soon(client.post("/away"))
    assert tried == ["GET", "GET", "GET", "POST"]


async def test_nobody_there_is_unavailable(http: Http):
    client = await http.client("http://127.0.0.1:1")
    with pytest.raises(UnavailableError, match="next is not available"):
        await soon(client.get("/v1/orders"))


class Flaky(OrderServiceServicer):
    """Is away twice, then there."""

    def __init__(self) -> None:
        self.tried: list[str] = []
        vars(self).update(GetOrder=self.get, CreateOrder=self.create)

    async def get(self, request: pb.GetOrderRequest, context: object) -> pb.GetOrderResponse:
        self._try("GetOrder")
        return pb.GetOrderResponse()

    async def create(
        self, request: pb.CreateOrderRequest, context: object
    ) -> pb.CreateOrderResponse:
        self._try("CreateOrder")
        return pb.CreateOrderResponse()

    def _try(self, name: str) -> None:
        self.tried.append(name)
        if self.tried.count(name) < 3:
            raise UnavailableError("away for a moment")


async def test_grpc_tries_again_what_the_proto_calls_safe(
    fleet: Fleet, settings: Settings, serving: Callable[..., Any]
):
    flaky = Flaky()

    async def built(service: Service, settings: Settings) -> None:
        service.rpc.add(add_OrderServiceServicer_to_server, flaky)

    async with serving(settings, built) as fleet.ports:
        stub = await fleet.stub()
        await soon(stub.GetOrder(UNKNOWN))
        with pytest.raises(UnavailableError, match="away for a moment"):
            await soon(stub.CreateOrder(pb.CreateOrderRequest()))
        await fleet.close()
    assert flaky.tried == ["GetOrder", "GetOrder", "GetOrder", "CreateOrder"]


async def test_the_settings_name_further_methods_that_are_safe(
    fleet: Fleet, settings: Settings, serving: Callable[..., Any]
):
    flaky = Flaky()

    async def built(service: Service, settings: Settings) -> None:
        service.rpc.add(add_OrderServiceServicer_to_server, flaky)

    create = pb.DESCRIPTOR.services_by_name["OrderService"].full_name + "/CreateOrder"
    async with serving(settings, built) as fleet.ports:
        stub = await fleet.stub(retries=ClientRetries(methods=(create,)))
        await soon(stub.CreateOrder(pb.CreateOrderRequest()))
        await fleet.close()
    assert flaky.tried == ["CreateOrder"] * 3


async def test_the_app_of_this_service_can_be_called(
    fleet: Fleet, settings: Settings, serving: Callable[..., Any]
):
    async with serving(settings, build) as fleet.ports:
        stub = await fleet.stub()
        new = pb.CreateOrderRequest(sku="tea", quantity=2)
        order = (await soon(stub.CreateOrder(new))).order
        assert (await soon(stub.GetOrder(pb.GetOrderRequest(id=order.id)))).order == order
        items = [pb.QuoteOrdersRequest(sku="tea", quantity=n) for n in (1, 2)]
        assert [quote.quantity async for quote in stub.QuoteOrders(iter(items))] == [1, 2]
        news = [pb.ImportOrdersRequest(sku="tea", quantity=n) for n in (1, 2)]
        assert (await soon(stub.ImportOrders(iter(news)))).created == 2
        await fleet.close()
