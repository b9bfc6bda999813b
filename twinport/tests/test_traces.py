"""Spans of calls on both transports, as a real collector gets them."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from twinport.calls import Call, current
from twinport.settings import Identity
from twinport.testing import FakeZipkin
from twinport.traces import TracesSettings, Tracing, span, tracing

from support.edges import opened

IDENTITY = Identity(name="order-book", version="1.2.3", environment="test", instance="one")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")


@pytest.fixture
def collector() -> Iterator[FakeZipkin]:
    with FakeZipkin() as collector:
        yield collector


@pytest.fixture
def settings(collector: FakeZipkin) -> TracesSettings:
    return TracesSettings(endpoint=collector.endpoint)


@pytest.fixture
def traces(settings: TracesSettings) -> Iterator[Tracing]:
    with tracing(settings, IDENTITY) as traces:
        yield traces


def answer(traces: Tracing, headers: dict[str, str], code="OK", lasts_s=0.1) -> Call:
    """Go through a gRPC call as the edge does."""
    call = opened(traces, headers)
    call.method, call.peer = "order_book.orders.v1.OrderService/GetOrder", "127.0.0.1:5000"
    token = current.set(call)
    if call.sampled:
        with traces.opened(call), span("look it up", sku="tea"):
            pass
    call.code, call.duration_ns = code, int(lasts_s * 1e9)
    traces.observe(call)
    current.reset(token)
    return call


def test_a_sampled_call_leaves_its_span_and_those_of_its_handler(traces, collector):
    call = answer(traces, {"b3": f"{'a' * 32}-{'b' * 16}-1"})
    inner, server = sorted(collector.wait_for_count(2), key=lambda span: span.get("kind") or "")
    told = [server[key] for key in ("traceId", "id", "parentId")]
    assert told == ["a" * 32, call.span_id, "b" * 16]
    assert (inner["traceId"], inner["parentId"]) == ("a" * 32, call.span_id)
    assert (inner["name"], inner["tags"]["sku"]) == ("look it up", "tea")
    assert (server["kind"], server["name"]) == ("SERVER", call.method)
    assert server["duration"] == 100_000


def test_the_service_says_who_it_is_by_the_conventions(traces, collector):
    answer(traces, {})
    server = collector.wait_for_count(2)[-1]
    assert server["localEndpoint"]["serviceName"] == "order-book"
    told = {key: server["tags"][key] for key in server["tags"] if key.startswith(("serv", "dep"))}
    assert told == {
        "service.name": "order-book",
        "service.version": "1.2.3",
        "service.instance.id": "one",
        "deployment.environment.name": "test",
    }


COMPARED = ("name", "kind", "tags", "parentId", "duration")


@pytest.mark.parametrize(("code", "lasts_s"), [("INTERNAL", 0.1), ("UNAVAILABLE", 0.1), ("OK", 3)])
def test_a_failed_or_slow_call_leaves_the_same_span_sampled_or_not(
    traces, collector, code, lasts_s
):
    parent = f"00-{'a' * 32}-{'b' * 16}-"
    for flags in ("01", "00"):
        answer(traces, {"traceparent": parent + flags}, code, lasts_s)
    spans = collector.wait_for(lambda spans: len([s for s in spans if s.get("kind")]) == 2)
    sampled, late = ({key: s[key] for key in COMPARED} for s in spans if s.get("kind"))
    assert sampled == late


def test_an_unsampled_call_that_went_well_leaves_nothing(traces, collector):
    traces.sampler.set_ratio(0)
    answer(traces, {})
    answer(traces, {}, "NOT_FOUND")
    failed = answer(traces, {}, "UNKNOWN")
    assert [span["id"] for span in collector.wait_for_count(1)] == [failed.span_id]


def test_a_call_refused_for_lack_of_room_leaves_no_late_span(traces, collector):
    traces.sampler.set_ratio(0)
    for status, code in ((503, "RESOURCE_EXHAUSTED"), (503, "UNAVAILABLE")):
        call = opened(traces, {}, "http")
        call.method, call.status, call.code = "GET", status, code
        traces.observe(call)
    assert [span["id"] for span in collector.wait_for_count(1)] == [call.span_id]


def test_an_unforeseen_error_is_told_once_in_a_trace(traces, collector):
    call = opened(traces, {})
    call.method = "order_book.orders.v1.OrderService/GetOrder"
    token = current.set(call)
    with suppress(ValueError), traces.opened(call), span("look it up"):
        call.error, call.code = ValueError("no database"), "INTERNAL"
        raise call.error
    traces.observe(call)
    current.reset(token)
    inner, server = sorted(collector.wait_for_count(2), key=lambda span: span.get("kind") or "")
    assert inner["tags"]["error"] == server["tags"]["error"] == "ValueError: no database"
    assert [len(span.get("annotations", [])) for span in (inner, server)] == [1, 0]


async def test_close_sends_what_is_waiting(settings, collector):
    with tracing(settings, IDENTITY) as traces:
        answer(traces, {})
        await traces.close(2)
        assert len(collector.spans) == 2


def test_what_a_tracer_has_decorated_follows_the_service_that_runs():
    with tracing(TracesSettings(exporter="none"), IDENTITY):
        tracer = trace.get_tracer("somebodys")

        @tracer.start_as_current_span("work")
        def work() -> None: ...

    exporter = InMemorySpanExporter()
    with tracing(TracesSettings(exporter="none"), IDENTITY) as traces:
        traces.add(SimpleSpanProcessor(exporter))
        work()
    assert [span.name for span in exporter.get_finished_spans()] == ["work"]
