"""Calls of the real service on both transports, sampled or not, as a collector gets them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

import grpc
import httpx2
import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import format_span_id, get_current_span, get_tracer_provider

from sample.app import build
from sample.orders.domain import Orders
from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import (
    OrderServiceServicer,
    OrderServiceStub,
    add_OrderServiceServicer_to_server,
)
from sample.settings import Settings
from twinport import Service
from twinport.calls import CallSettings
from twinport.service.ports import Ports
from twinport.testing import FakeZipkin
from twinport.traces import TracesSettings

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def fail(*_: object) -> None:
    get_current_span().add_event("looked up")
    raise RuntimeError("no database")


async def hang(*_: object) -> None:
    await asyncio.Event().wait()


async def broken(service: Service, settings: Settings) -> None:
    """Build what fails or hangs in every call."""

    @service.rest.get("/v1/orders/{order_id}")
    async def get(order_id: str) -> None:
        await fail()

    @service.rest.delete("/v1/orders/{order_id}")
    async def delete(order_id: str) -> None:
        await hang()

    servicer = OrderServiceServicer()
    vars(servicer).update(GetOrder=fail, DeleteOrder=hang)
    service.rpc.add(add_OrderServiceServicer_to_server, servicer)


async def over_http(ports: Ports, method: str, path: str, flags: str) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}") as client:
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-{flags}", "user-agent": "tests"}
        return await client.request(method, path, headers=headers)


async def over_grpc(ports: Ports, method: str, request: Any, flags: str) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        metadata = (("traceparent", f"00-{TRACE}-{SPAN}-{flags}"),)
        with suppress(grpc.aio.AioRpcError):
            await getattr(OrderServiceStub(channel), method)(request, metadata=metadata)


async def get_over_http(ports: Ports, flags: str) -> None:
    await over_http(ports, "GET", "/v1/orders/4711?token=opensesame", flags)


async def hang_over_http(ports: Ports, flags: str) -> None:
    await over_http(ports, "DELETE", "/v1/orders/4711", flags)


async def get_over_grpc(ports: Ports, flags: str) -> None:
    await over_grpc(ports, "GetOrder", pb.GetOrderRequest(id="4711"), flags)


async def hang_over_grpc(ports: Ports, flags: str) -> None:
    await over_grpc(ports, "DeleteOrder", pb.DeleteOrderRequest(id="4711"), flags)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")


@pytest.fixture
def collector() -> Iterator[FakeZipkin]:
    with FakeZipkin() as collector:
        yield collector


@pytest.fixture
def settings(settings: Settings, collector: FakeZipkin) -> Settings:
    sections = {
        "traces": TracesSettings(endpoint=collector.endpoint),
        "calls": CallSettings(timeout=timedelta(milliseconds=400)),
    }
    return settings.model_copy(update=sections)


@pytest.fixture
async def failing(serving, settings) -> AsyncIterator[Ports]:
    async with serving(settings, broken) as ports:
        yield ports


async def server_spans(collector: FakeZipkin, count: int) -> list[dict[str, Any]]:
    def servers(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [span for span in spans if span.get("kind") == "SERVER"]

    def enough(spans: list[dict[str, Any]]) -> bool:
        return len(servers(spans)) >= count

    return servers(await asyncio.to_thread(collector.wait_for, enough))


CALLS = [get_over_http, hang_over_http, get_over_grpc, hang_over_grpc]


@pytest.mark.parametrize("call", CALLS)
async def test_a_failing_call_leaves_one_and_the_same_span_sampled_or_not(
    failing, collector, calls, call
):
    await call(failing, "01")
    await call(failing, "00")
    sampled, late = await server_spans(collector, 2)
    ids = [(span["traceId"], span["id"], span["parentId"]) for span in (sampled, late)]
    assert ids == [(TRACE, call.span_id, SPAN) for call in calls]
    for key in ("name", "kind", "tags"):
        assert without_port(sampled)[key] == without_port(late)[key]


def without_port(span: dict[str, Any]) -> dict[str, Any]:
    """Return `span` without what differs in each call."""
    return span | {"tags": {k: v for k, v in span["tags"].items() if k != "client.port"}}


@pytest.mark.parametrize("call", [get_over_http, get_over_grpc])
async def test_a_call_that_we_chose_has_the_ids_that_its_log_lines_carry(
    failing, collector, calls, call
):
    await call(failing, "")  # no decision: a garbled header
    (span,) = await server_spans(collector, 1)
    assert (span["traceId"], span["id"]) == (calls[0].trace_id, calls[0].span_id)
    assert calls[0].trace_id != TRACE
    assert "parentId" not in span


async def test_a_failing_rest_call_is_named_by_its_route(failing, collector):
    await get_over_http(failing, "01")
    (span,) = await server_spans(collector, 1)
    assert span["name"] == "GET /v1/orders/{order_id}"
    others = ("otel.", "service.", "telemetry.", "server.port")
    told = {k: v for k, v in without_port(span)["tags"].items() if not k.startswith(others)}
    assert told == {
        "client.address": "127.0.0.1",
        "error": "RuntimeError: no database",
        "error.type": "500",
        "http.request.method": "GET",
        "http.response.status_code": "500",
        "http.route": "/v1/orders/{order_id}",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "url.path": "/v1/orders/4711",
        "url.scheme": "http",
        "user_agent.original": "tests",
    }
    assert "opensesame" not in str(span)
    assert ["RuntimeError" in event["value"] for event in span["annotations"]] == [False, True]


async def test_a_failing_grpc_call_is_named_by_its_method(failing, collector):
    await get_over_grpc(failing, "01")
    (span,) = await server_spans(collector, 1)
    assert span["name"].endswith(".orders.v1.OrderService/GetOrder")
    assert span["tags"]["rpc.method"] == span["name"]
    assert span["tags"]["rpc.system.name"] == "grpc"
    assert span["tags"]["rpc.response.status_code"] == "INTERNAL"
    assert span["tags"]["error.type"] == "INTERNAL"
    assert ["looked up" in event["value"] for event in span["annotations"]] == [True, False]


@pytest.mark.parametrize(
    ("call", "key", "status"),
    [
        (hang_over_http, "http.response.status_code", "504"),
        (hang_over_grpc, "rpc.response.status_code", "DEADLINE_EXCEEDED"),
    ],
)
async def test_a_call_that_is_cut_off_tells_its_status(failing, collector, call, key, status):
    await call(failing, "01")
    (span,) = await server_spans(collector, 1)
    assert span["tags"][key] == span["tags"]["error.type"].replace("504", status) == status


async def test_a_call_that_nobody_waits_for_any_more_leaves_its_span(serving, settings, collector):
    begun = asyncio.Event()

    async def hold(*_: object) -> None:
        begun.set()
        await hang()

    async def built(service: Service, settings: Settings) -> None:
        vars(servicer := OrderServiceServicer()).update(DeleteOrder=hold)
        service.rpc.add(add_OrderServiceServicer_to_server, servicer)

    async with serving(settings, built) as ports:
        waiting = asyncio.create_task(hang_over_grpc(ports, "01"))
        await begun.wait()
        waiting.cancel()
        (span,) = await server_spans(collector, 1)
    assert span["tags"]["rpc.response.status_code"] == "CANCELLED"
    assert "error" not in span["tags"]


async def test_an_unknown_path_and_an_unknown_method_are_traced_without_their_names(
    failing, collector
):
    await over_http(failing, "GET", "/no/such/path", "01")
    await over_http(failing, "BREW", "/v1/orders/1", "01")
    unknown, brewed = await server_spans(collector, 2)
    assert (unknown["name"], unknown["tags"].get("http.route")) == ("GET", None)
    assert brewed["name"].startswith("HTTP")
    assert brewed["tags"]["http.request.method"] == "_OTHER"
    assert brewed["tags"]["http.request.method_original"] == "BREW"


async def test_a_setting_shows_the_methods_of_the_domain(serving, settings, collector):
    functions = [Orders.__module__]
    chosen = TracesSettings(endpoint=collector.endpoint, functions=functions)
    async with serving(settings.model_copy(update={"traces": chosen}), build) as ports:
        url = f"http://127.0.0.1:{ports.http}/v1/orders"
        async with httpx2.AsyncClient() as client:
            answer = await client.post(url, json={"sku": "green-tea", "quantity": 2})
        assert answer.status_code == 201
        spans = await asyncio.to_thread(collector.wait_for_count, 2)
    by_name = {span["name"]: span for span in spans}
    assert by_name["Orders.create"]["parentId"] == by_name["POST /v1/orders"]["id"]


class Kept(SpanProcessor):
    """What a processor of somebody else is told."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[ReadableSpan] = []
        self.shut_down = self.flushed = 0

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.started.append(span.name)

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)

    def shutdown(self) -> None:
        self.shut_down += 1

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        self.flushed += 1
        return True


@pytest.mark.parametrize("call", [get_over_http, get_over_grpc])
async def test_a_processor_that_build_adds_sees_each_complete_span(
    serving, settings, collector, call
):
    kept = Kept()

    async def built(service: Service, settings: Settings) -> None:
        provider: Any = get_tracer_provider()
        provider.add_span_processor(kept)
        assert provider.resource.attributes["service.name"] == "service-under-test"
        await broken(service, settings)

    async with serving(settings, built) as ports:
        await call(ports, "01")
        await call(ports, "00")
        sent = await server_spans(collector, 2)
        cast("Any", get_tracer_provider()).force_flush()
    assert len(kept.started) == 1  # a late one has never been open
    ended = [format_span_id(span.get_span_context().span_id) for span in kept.ended]
    assert ended == [span["id"] for span in sent]
    names = {sent[0]["name"]}
    assert {span.name for span in kept.ended} == names
    assert [span.status.is_ok for span in kept.ended] == [False, False]
    assert (kept.flushed, kept.shut_down) == (1, 1)
