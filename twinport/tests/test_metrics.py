"""What Prometheus reads on the management port, from the real service, with its own parser."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx2
import pytest
from prometheus_client import Counter
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from sample.app import build
from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from sample.settings import Settings
from twinport import Service
from twinport.clients.settings import ClientRetries, ClientSettings
from twinport.errors import UnavailableError
from twinport.service.ports import Ports
from twinport.testing import FakeZipkin
from twinport.traces import TracesSettings

from support.callers import ByRest, ByRpc

HTTP = "http_server_request_duration_seconds"
RPC = "rpc_server_call_duration_seconds"
HTTP_CLIENT = "http_client_request_duration_seconds"
RPC_CLIENT = "rpc_client_call_duration_seconds"
SIZES = [  # of the client's side, and of the server's
    ("http_client_request_body_size_bytes", "http_server_request_body_size_bytes"),
    ("http_client_response_body_size_bytes", "http_server_response_body_size_bytes"),
    ("rpc_client_call_sent_message_size_bytes", "rpc_server_call_received_message_size_bytes"),
    ("rpc_client_call_received_message_size_bytes", "rpc_server_call_sent_message_size_bytes"),
]
METHOD = f"{OrderServiceStub.__module__.rpartition('.')[0]}.OrderService"
Serving = Callable[..., Any]


class Scrape:
    """What one scrape has found."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}

    def counted(self, name: str) -> dict[tuple[str, ...], float]:
        """Return how often each series of a histogram was observed, by its labels in ABC order."""
        return self.samples(name, "_count")

    def samples(self, name: str, suffix: str = "") -> dict[tuple[str, ...], float]:
        found = self.families[name].samples
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for sample in found
            if sample.name == name + suffix
        }


async def scraped(ports: Ports) -> Scrape:
    async with httpx2.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{ports.management}/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(answer.text)


@pytest.fixture
async def http(ports: Ports) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}") as http:
        yield http


@pytest.fixture
async def channel(ports: Ports) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        yield channel


async def test_every_rest_call_is_counted_by_route_and_status(ports, http):
    await http.post("/v1/orders", json={"sku": "tea", "quantity": 1})
    await http.get("/v1/orders/one")
    await http.get("/v1/orders/two")
    seen = (await scraped(ports)).counted(HTTP)
    assert seen == {
        ("POST", "201", "/v1/orders"): 1,
        ("GET", "404", "/v1/orders/{order_id}"): 2,
    }


async def test_every_grpc_call_is_counted_by_method_and_code(ports, channel):
    stub = OrderServiceStub(channel)
    await stub.CreateOrder(pb.CreateOrderRequest(sku="tea", quantity=1))
    watch = stub.WatchOrders(pb.WatchOrdersRequest())
    await watch.read()
    watch.cancel()
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.GetOrder(pb.GetOrderRequest(id="unknown"))
    seen = (await scraped(ports)).counted(RPC)
    assert seen[f"{METHOD}/CreateOrder", "OK"] == 1
    assert seen[f"{METHOD}/GetOrder", "NOT_FOUND"] == 1


async def test_what_a_caller_makes_up_is_one_series_each(ports, http, channel):
    for number in range(5):
        await http.get(f"/no/such/path/{number}")
        await http.request(f"MADEUP{number}", "/v1/orders")
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary(f"/made.up.Service{number}/Method")(b"")
    found = await scraped(ports)
    assert found.counted(RPC) == {("_OTHER", "UNIMPLEMENTED"): 5}
    assert {labels[0] for labels in found.counted(HTTP)} == {"GET", "_OTHER"}
    assert len(found.counted(HTTP)) == 2


async def test_sizes_of_messages_are_counted(ports, http):
    sent = await http.post("/v1/orders", json={"sku": "tea", "quantity": 1})
    found = await scraped(ports)
    received = found.samples("http_server_request_body_size_bytes", "_sum")
    answered = found.samples("http_server_response_body_size_bytes", "_sum")
    assert list(received.values()) == [len(sent.request.content)]
    assert list(answered.values()) == [len(sent.content)]


async def test_open_streams_are_seen_while_they_run(ports, channel):
    stub = OrderServiceStub(channel)
    await stub.CreateOrder(pb.CreateOrderRequest(sku="tea", quantity=1))
    watch = stub.WatchOrders(pb.WatchOrdersRequest())
    await watch.read()
    assert (await scraped(ports)).samples("server_active_calls") == {("unary",): 0, ("stream",): 1}
    watch.cancel()


async def test_the_process_the_runtime_the_loop_and_losses_are_measured(ports):
    families = (await scraped(ports)).families
    assert {
        "process_resident_memory_bytes",
        "process_cpu_seconds",
        "python_info",
        "python_gc_collections",
        "event_loop_lag_seconds",
        "traces_dropped_spans",
        "logs_dropped_lines",
    } <= set(families)


async def test_a_metric_of_ones_own_is_a_line(ports):
    Counter("tea_cups", "Cups of tea.").inc(3)
    assert (await scraped(ports)).samples("tea_cups", "_total") == {(): 3}


async def test_calls_are_not_measured_where_nobody_wants_it(serving: Serving, settings: Settings):
    off = settings.metrics.model_copy(update={"enabled": False})
    async with serving(settings.model_copy(update={"metrics": off})) as ports:
        for client in (ByRest(ports), ByRpc(ports)):
            assert await client.call("CreateOrder") == "OK"
            await client.close()
        found = await scraped(ports)
    assert (found.counted(HTTP), found.counted(RPC)) == ({}, {})
    assert "process_cpu_seconds" in found.families


@pytest.fixture
def calling(serving: Serving, ports: Ports, settings: Settings) -> Serving:
    """A service that calls one that is there, and one that is not."""
    stock = ClientSettings(target=f"127.0.0.1:{ports.grpc}", url=f"http://127.0.0.1:{ports.http}")
    away = ClientSettings(url="http://127.0.0.1:1", retries=ClientRetries(attempts=1))
    chosen = settings.model_copy(update={"clients": {"stock": stock, "away": away}})

    @asynccontextmanager
    async def calling() -> AsyncIterator[tuple[Ports, Service]]:
        kept: list[Service] = []

        async def built(service: Service, settings: Settings) -> None:
            kept.append(service)
            await build(service, settings)

        async with serving(chosen, built) as mine:
            yield mine, kept[0]

    return calling


async def test_calls_to_other_services_are_counted(calling: Serving):
    async with calling() as (mine, service):
        stub = OrderServiceStub(service.client("stock"))
        await stub.ListOrders(pb.ListOrdersRequest())
        await service.http_client("stock").get("/v1/orders")
        with pytest.raises(UnavailableError):
            await service.http_client("away").get("/v1/orders")
        found = await scraped(mine)
    assert found.counted(RPC_CLIENT) == {("stock", f"{METHOD}/ListOrders", "OK"): 1}
    assert found.counted(HTTP_CLIENT) == {
        ("stock", "", "GET", "200"): 1,
        ("away", "UNAVAILABLE", "GET", ""): 1,
    }


async def test_both_sides_of_a_call_count_the_same_bytes(calling: Serving, ports: Ports):
    async with calling() as (mine, service):
        stub = OrderServiceStub(service.client("stock"))
        await stub.CreateOrder(pb.CreateOrderRequest(sku="tea", quantity=1))
        await service.http_client("stock").post("/v1/orders", json={"sku": "tea", "quantity": 1})
        ours, theirs = await scraped(mine), await scraped(ports)
    for sent, received in SIZES:
        (size,) = ours.samples(sent, "_sum").values()
        assert [size] == list(theirs.samples(received, "_sum").values())
        assert size > 0


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    """Settings by which no call is sampled unless its caller says so, and spans are sent."""
    with FakeZipkin() as collector:
        traces = TracesSettings(endpoint=collector.endpoint, sample_ratio=0)
        yield settings.model_copy(update={"traces": traces})


async def test_a_bucket_names_the_trace_of_its_call_where_openmetrics_is_asked_for(
    ports, http, channel
):
    sampled, other = f"00-{'a' * 32}-{'b' * 16}-01", f"00-{'c' * 32}-{'b' * 16}-00"
    stub = OrderServiceStub(channel)
    await stub.ListOrders(pb.ListOrdersRequest(), metadata=[("traceparent", sampled)])
    for parent in (sampled, other):
        await http.get("/v1/orders", headers={"traceparent": parent})
    text = await openmetrics_of(ports)
    assert text.endswith("# EOF\n")
    assert set(exemplars_in(text)) == {(f"{HTTP}_bucket", "a" * 32), (f"{RPC}_bucket", "a" * 32)}


async def openmetrics_of(ports: Ports) -> str:
    wanted = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    async with httpx2.AsyncClient() as http:
        url = f"http://127.0.0.1:{ports.management}/metrics"
        answer = await http.get(url, headers={"accept": wanted})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    return answer.text


def exemplars_in(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each bucket that has an exemplar, and the trace; all must hold it."""
    samples = [sample for family in openmetrics_families(text) for sample in family.samples]
    for sample in samples:
        if sample.exemplar is not None:
            assert sample.exemplar.value <= float(sample.labels["le"])
            yield sample.name, sample.exemplar.labels["trace_id"]
