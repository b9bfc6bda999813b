"""Calls from one service to others: real services, in this process or in their own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from fastapi import Response
from loguru import logger
from pydantic import SecretStr

from sample.app import build
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
from twinport.clients.clients import bounded_channel, connect, connected
from twinport.clients.http_client import HttpClient
from twinport.clients.outgoing_call import ClientCall, Outgoing, log
from twinport.clients.settings import ClientRetries, ClientSettings, ClientTls
from twinport.errors import (
    AlreadyExistsError,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OverloadedError,
    ServiceError,
    StartupError,
    UnavailableError,
)
from twinport.service.ports import Ports
from twinport.tls.authority import write

from support.certified import Site
from support.process import started

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


LATE_S = 5  # what the way to a service may take on a busy machine


async def soon(awaitable: Any) -> Any:
    async with asyncio.timeout(20):
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
    until = loop.time() + 2
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await soon(chain.DeleteOrder(pb.DeleteOrderRequest(id="1"), timeout=2))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    for hop in fleet.hops:
        call = hop.seen.result()
        assert call
        assert call.deadline is not None
        assert call.deadline <= until + LATE_S
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
    async with httpx2.AsyncClient() as http:
        assert (await http.get(readyz)).status_code == 200
    nobody = ClientSettings(target="localhost:1", required=True)
    lonely = settings.model_copy(update={"clients": {"inventory": nobody}})

    async def built(service: Service, settings: Settings) -> None:
        service.client("inventory")

    async with serving(lonely, built) as ports, httpx2.AsyncClient(timeout=10) as http:
        answer = await http.get(f"http://127.0.0.1:{ports.management}/readyz")
    assert answer.status_code == 503
    assert "clients.inventory" in answer.text


@pytest.mark.parametrize(("is_there", "status"), [(True, 200), (False, 503)])
async def test_a_service_that_is_required_over_rest_decides_too(
    settings: Settings, serving: Callable[..., Any], ports: Ports, is_there: bool, status: int
):
    url = f"http://127.0.0.1:{ports.http if is_there else 1}"
    clients = {"inventory": ClientSettings(url=url, required=True)}

    async def built(service: Service, settings: Settings) -> None:
        service.http_client("inventory")

    calling = settings.model_copy(update={"clients": clients})
    async with serving(calling, built) as calling_ports, httpx2.AsyncClient(timeout=10) as http:
        answer = await http.get(f"http://127.0.0.1:{calling_ports.management}/readyz")
    assert answer.status_code == status
    assert "clients.inventory" in answer.text


class Silent:
    """A port that says nothing, and knows whether somebody has come and gone."""

    def __init__(self) -> None:
        self.accepted, self.closed = asyncio.Event(), asyncio.Event()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.set()
        await reader.read(-1)
        writer.close()
        self.closed.set()


async def test_a_client_connects_when_it_is_first_used_and_is_closed_with_the_service(
    settings: Settings, serving: Callable[..., Any]
):
    opened: list[grpc.aio.Channel] = []

    async def built(service: Service, settings: Settings) -> None:
        opened.extend([service.client("next"), service.client("next")])

    silent = Silent()
    server = await asyncio.start_server(silent.accept, "127.0.0.1", 0)
    target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    clients = {"next": ClientSettings(target=target, deadline=timedelta(milliseconds=300))}
    async with server, serving(settings.model_copy(update={"clients": clients}), built):
        await asyncio.sleep(0.2)
        assert not silent.accepted.is_set()
        with pytest.raises((DeadlineExceededError, UnavailableError)):
            await soon(OrderServiceStub(opened[0]).GetOrder(UNKNOWN))
        assert silent.accepted.is_set()
        assert not silent.closed.is_set()
    async with asyncio.timeout(20):  # grpc may first give up to connect, after 5 s
        await silent.closed.wait()
    assert opened[0] is opened[1]


async def fail() -> None:
    raise OSError("ill")


def addresses(*several: Ports) -> str:
    return "ipv4:" + ",".join(f"127.0.0.1:{ports.grpc}" for ports in several)


async def test_all_addresses_take_turns_but_those_that_are_not_ready(
    fleet: Fleet, settings: Settings, serving: Callable[..., Any]
):
    answered: list[str] = []

    def answering(name: str, *, is_ready: bool = True) -> Any:
        async def built(service: Service, settings: Settings) -> None:
            servicer = Hop()
            vars(servicer).update(GetOrder=get)
            service.rpc.add(add_OrderServiceServicer_to_server, servicer)
            if not is_ready:
                service.check("never", fail)

        async def get(request: pb.GetOrderRequest, context: object) -> pb.GetOrderResponse:
            answered.append(name)
            return pb.GetOrderResponse()

        return built

    async with (
        serving(settings, answering("one")) as one,
        serving(settings, answering("two")) as two,
        serving(settings, answering("ill", is_ready=False)) as ill,
        connect(ClientSettings(target=addresses(one, two, ill))) as channel,
    ):
        await connected(channel)
        while set(answered) != {"one", "two"}:
            await soon(OrderServiceStub(channel).GetOrder(UNKNOWN))
    assert "ill" not in answered


async def listed(settings: ClientSettings) -> None:
    async with connect(settings, "next") as channel:
        await soon(OrderServiceStub(channel).ListOrders(pb.ListOrdersRequest()))


async def test_the_connection_is_encrypted_and_both_sides_show_who_they_are(
    settings: Settings, serving: Callable[..., Any], tmp_path: Path
):
    site = Site(tmp_path, settings)
    write(site.authority.issue("checkout"), tmp_path, "client")
    tls = ClientTls(ca=site.ca, certificate=tmp_path / "client.pem", key=tmp_path / "client.key")
    async with serving(site.secured(client_ca=site.ca)) as ports:
        secure = ClientSettings(
            target=f"localhost:{ports.grpc}",
            url=f"https://localhost:{ports.http}",
            tls=tls,
        )
        async with connect(secure) as channel, HttpClient(Outgoing("next", secure, ())) as http:
            await soon(OrderServiceStub(channel).ListOrders(pb.ListOrdersRequest()))
            assert (await http.get("/v1/orders")).is_success
        stranger = ClientSettings(target=secure.target, tls=ClientTls(ca=site.ca))
        with pytest.raises(UnavailableError, match="next is not available"):
            await listed(stranger)


async def test_a_key_that_does_not_fit_stops_the_start(tmp_path: Path, settings: Settings):
    site = Site(tmp_path, settings)
    write(site.authority.issue("checkout"), tmp_path, "client")
    tls = ClientTls(certificate=tmp_path / "client.pem", key=tmp_path / "server.key")
    with pytest.raises(StartupError, match=r"clients\.next\.tls: .*KEY_VALUES_MISMATCH"):
        connect(ClientSettings(target="localhost:1", tls=tls), "next")
    tls = ClientTls(ca=tmp_path / "none.pem")
    with pytest.raises(StartupError, match=r"clients\.next\.tls: no such file: .*none\.pem"):
        connect(ClientSettings(target="localhost:1", tls=tls), "next")


async def test_a_channel_without_a_name_is_called_by_its_target():
    async with connect(ClientSettings(target="localhost:1")) as channel:
        with pytest.raises(UnavailableError, match=r"^localhost:1 is not available$"):
            await soon(OrderServiceStub(channel).ListOrders(pb.ListOrdersRequest()))


async def test_observers_hear_of_each_call(fleet: Fleet, ports: Ports):
    heard: list[ClientCall] = []
    outgoing = Outgoing("next", ClientSettings(target=f"localhost:{ports.grpc}"), [heard.append])
    async with bounded_channel(outgoing) as channel:
        stub = OrderServiceStub(channel)
        await soon(stub.ListOrders(pb.ListOrdersRequest()))
        with pytest.raises(NotFoundError):
            await soon(stub.GetOrder(UNKNOWN))
        watch = stub.WatchOrders(pb.WatchOrdersRequest())
        await soon(watch.read())
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await soon(watch.read())
    seen = [(call.method.rpartition("/")[2], call.code, call.is_stream) for call in heard]
    assert seen == [
        ("ListOrders", "OK", False),
        ("GetOrder", "NOT_FOUND", False),
        ("WatchOrders", "CANCELLED", True),
    ]
    assert all(call.client == "next" and call.duration_ns > 0 for call in heard)


async def test_each_call_is_logged_and_louder_if_the_other_service_is_at_fault(ports: Ports):
    seen: list[tuple[str, str]] = []

    def keep(message: Any) -> None:
        record = message.record
        assert record["extra"]["event.duration"] > 0
        seen.append((record["level"].name, record["extra"]["rpc.method"].rpartition("/")[2]))

    logging = logger.add(keep, level="DEBUG", filter=log.__module__)
    url = f"http://127.0.0.1:{ports.http}"
    there = ClientSettings(target=f"localhost:{ports.grpc}", url=url)
    async with (
        connect(there, "next") as channel,
        HttpClient(Outgoing("next", there, [log])) as http,
    ):
        with pytest.raises(NotFoundError):
            await soon(OrderServiceStub(channel).GetOrder(UNKNOWN))
        await soon(http.get("/v1/orders"))
    with pytest.raises(UnavailableError):
        await listed(ClientSettings(target="localhost:1"))
    logger.remove(logging)
    assert seen == [("DEBUG", "GetOrder"), ("DEBUG", "GET"), ("WARNING", "ListOrders")]


async def test_observers_hear_of_a_stream_that_nobody_reads(fleet: Fleet, ports: Ports):
    heard: asyncio.Queue[ClientCall] = asyncio.Queue()
    settings = ClientSettings(target=f"localhost:{ports.grpc}")
    async with bounded_channel(Outgoing("next", settings, [heard.put_nowait])) as channel:
        stub = OrderServiceStub(channel)
        refused = stub.WatchOrders(pb.WatchOrdersRequest(resume_token="nonsense"))
        assert await soon(refused.code()) is grpc.StatusCode.INVALID_ARGUMENT
        assert (await soon(heard.get())).code == "INVALID_ARGUMENT"
        with pytest.raises(InvalidArgumentError):
            await soon(refused.read())
        watch = stub.WatchOrders(pb.WatchOrdersRequest())
        await soon(watch.initial_metadata())
        watch.cancel()
        assert (await soon(heard.get())).code == "CANCELLED"
        assert heard.empty()  # of each once


@pytest.mark.parametrize("is_forwarded", [True, False])
async def test_a_token_is_sent_on_only_if_the_settings_say_so(is_forwarded: bool):
    call = Call("grpc", "", "")
    call.request_id = "order-4711"
    call.principal = Principal("alice", token=SecretStr("secret"))
    settings = ClientSettings(target="localhost:1", forward_token=is_forwarded)
    told = {"x-request-id": "order-4711"}
    token = {"authorization": "Bearer secret"} if is_forwarded else {}
    before = current.set(call)
    try:
        assert Outgoing("next", settings, ()).headers() == told | token
    finally:
        current.reset(before)


class Http:
    """An HTTP client of the service at `ports`, opened by a service."""

    def __init__(self, settings: Settings, serving: Callable[..., Any]) -> None:
        self._settings, self._serving = settings, serving
        self._open = AsyncExitStack()

    async def client(self, url: str, **chosen: Any) -> httpx2.AsyncClient:
        clients = {"next": ClientSettings(url=url, **chosen)}
        settings = self._settings.model_copy(update={"clients": clients})
        opened: list[httpx2.AsyncClient] = []

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


async def test_a_problem_is_raised_as_the_error_that_it_was(http: Http, ports: Ports):
    client = await http.client(f"http://127.0.0.1:{ports.http}")
    with pytest.raises(NotFoundError, match="no such order"):
        await client.get("/v1/orders/unknown")
    with pytest.raises(InvalidArgumentError) as caught:
        await client.post("/v1/orders", json={"sku": "tea", "quantity": 0})
    assert [violation.field for violation in caught.value.fields] == ["quantity"]


async def test_an_answer_says_how_long_it_took(http: Http, ports: Ports):
    client = await http.client(f"http://127.0.0.1:{ports.http}")
    read = await client.get("/v1/orders")
    async with client.stream("GET", "/v1/orders") as streamed:
        await streamed.aread()
    assert min(read.elapsed, streamed.elapsed) > timedelta(0)


PROBLEMS = [
    ('{"code": "NOT_FOUND", "detail": "no tea"}', 400, NotFoundError("no tea")),
    ('{"code": "E-1234", "detail": "no tea"}', 404, NotFoundError("no tea")),
    ('{"code": ["NOT_FOUND"], "detail": "no tea"}', 400, InvalidArgumentError("no tea")),
    ('{"title": "Conflict", "errors": ["sku"]}', 409, AlreadyExistsError("")),
    ('{"errors": {"sku": "none"}}', 400, InvalidArgumentError("")),
    ("[]", 504, DeadlineExceededError("")),
    ("<html>", 418, FailedPreconditionError("")),
    ('{"code": "OK", "detail": "at db-7"}', 500, InternalError("internal error")),
]


@pytest.mark.parametrize(("body", "status", "error"), PROBLEMS)
async def test_a_problem_of_another_make_is_what_its_status_says(
    http: Http,
    settings: Settings,
    serving: Callable[..., Any],
    body: str,
    status: int,
    error: ServiceError,
):
    async def built(service: Service, settings: Settings) -> None:
        @service.rest.post("/problem")
        async def problem() -> Response:
            return Response(body, status, media_type="application/problem+json; charset=utf-8")

    async with serving(settings, built) as ports:
        client = await http.client(f"http://127.0.0.1:{ports.http}")
        with pytest.raises(type(error)) as caught:
            await soon(client.post("/problem"))
    assert str(caught.value) == str(error)


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


async def test_who_is_overloaded_is_not_asked_again(
    http: Http, settings: Settings, serving: Callable[..., Any]
):
    tried: list[str] = []

    async def built(service: Service, settings: Settings) -> None:
        @service.rest.get("/busy")
        async def busy() -> None:
            tried.append("GET")
            raise OverloadedError("too many calls")

    async with serving(settings, built) as ports:
        client = await http.client(f"http://127.0.0.1:{ports.http}")
        with pytest.raises(OverloadedError, match="too many calls"):
            await soon(client.get("/busy"))
    assert tried == ["GET"]


async def test_nobody_there_is_unavailable(http: Http):
    client = await http.client("http://127.0.0.1:1")
    with pytest.raises(UnavailableError, match="next is not available"):
        await soon(client.get("/v1/orders"))


class Chain:
    """A service whose REST handler calls the next one over REST, and that one's hangs."""

    def __init__(self) -> None:
        self.seen: asyncio.Future[Call | None] = asyncio.Future()
        self.deadline: float | None = None
        self.cancelled = asyncio.Event()

    async def last(self, service: Service, settings: Settings) -> None:
        @service.rest.get("/work")
        async def work() -> None:
            self.seen.set_result(call := current.get())
            self.deadline = call and call.deadline
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()

    async def first(self, service: Service, settings: Settings) -> None:
        client = service.http_client("next")

        @service.rest.get("/work")
        async def work() -> None:
            await client.get("/work")


@pytest.fixture
async def rest_chain(
    settings: Settings, serving: Callable[..., Any]
) -> AsyncIterator[tuple[Chain, str]]:
    chain = Chain()
    async with serving(settings, chain.last) as last:
        clients = {"next": ClientSettings(url=f"http://127.0.0.1:{last.http}")}
        calling = settings.model_copy(update={"clients": clients})
        async with serving(calling, chain.first) as first:
            yield chain, f"http://127.0.0.1:{first.http}/work"


async def test_a_deadline_crosses_rest_too(rest_chain: tuple[Chain, str]):
    chain, url = rest_chain
    async with httpx2.AsyncClient() as http:
        until = asyncio.get_running_loop().time() + 0.5
        answer = await soon(
            http.get(url, headers={"grpc-timeout": "500m", "x-request-id": "order-4711"})
        )
    call = chain.seen.result()
    assert answer.status_code == 504
    assert call
    assert call.request_id == "order-4711"
    assert chain.deadline is not None
    assert chain.deadline < until + 5  # without the caller's it would be 30 s
    await soon(chain.cancelled.wait())


async def test_a_rest_caller_who_hangs_up_ends_the_work_of_the_next_service(
    rest_chain: tuple[Chain, str],
):
    chain, url = rest_chain
    async with httpx2.AsyncClient() as http:
        call = asyncio.create_task(http.get(url))
        await soon(chain.seen)
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
    await soon(chain.cancelled.wait())


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
