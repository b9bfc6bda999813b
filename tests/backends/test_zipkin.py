"""A real Zipkin and the demo: REST to checkout, gRPC and a stream on to order-book."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from demo.purchase import buy_over_rest
from demo.services import SERVICES, spans_to, started
from demo.trace import Span, problem_of, service_of
from tools.backend import wait_until
from tools.zipkin import Zipkin
from twinport.testing import free_port

pytestmark = pytest.mark.backends

SERVICE = "order_book.orders.v1.orderservice"
CREATE, QUOTE = f"{SERVICE}/createorder", f"{SERVICE}/quoteorders"
METHODS = {CREATE, QUOTE}
BEGIN = "if key in self._by_key:"  # of MemoryOrderStore.add


@pytest.fixture(scope="module")
def spans(server: Zipkin, checkout_port: int) -> list[Span]:
    """One request's spans, as Zipkin tells them."""
    trace_id = buy_over_rest(checkout_port)
    return server.trace(trace_id, lambda spans: spans and not problem_of(spans, SERVICES))


def test_zipkin_shows_one_whole_trace(spans: list[Span]):
    assert problem_of(spans, SERVICES) == ""
    assert len({span["traceId"] for span in spans}) == 1


def test_the_request_is_the_root_and_the_calls_are_its_children(spans: list[Span]):
    (root,) = [span for span in spans if "parentId" not in span]
    assert (service_of(root), root["kind"]) == ("checkout", "SERVER")
    assert root["name"] == "post /v1/purchases"  # Zipkin writes all names in lower case
    calls = [span for span in spans if span.get("kind") == "CLIENT"]
    assert {call["parentId"] for call in calls} == {root["id"]}
    assert {(service_of(call), call["name"]) for call in calls} == {
        ("checkout", method) for method in METHODS
    }


def test_each_call_is_answered_below_it_unary_and_streamed(spans: list[Span]):
    asked = {span["id"]: span["name"] for span in spans if span.get("kind") == "CLIENT"}
    answered = [span for span in spans if span.get("parentId") in asked]
    assert {span["parentId"]: span["name"] for span in answered} == asked
    assert {(service_of(span), span["kind"]) for span in answered} == {("order-book", "SERVER")}


def test_a_span_lasts_within_its_parent(spans: list[Span]):
    by_id = {span["id"]: span for span in spans}
    for span in spans:
        parent = by_id.get(span.get("parentId", ""), span)
        assert 0 < span["duration"] <= parent["duration"], span["name"]
        assert span["timestamp"] >= parent["timestamp"] - 1000, span["name"]


def test_zipkin_knows_who_calls_whom(server: Zipkin, spans: list[Span]):
    assert spans
    assert set(server.get("/api/v2/services")) >= SERVICES
    links = {(link["parent"], link["child"]): link["callCount"] for link in server.links()}
    assert links["checkout", "order-book"] >= len(METHODS)


def test_a_call_that_fails_has_an_error_tag_where_it_failed(server: Zipkin, checkout_port: int):
    trace_id = refused(checkout_port, quantity=0, status=400)
    spans = server.trace(trace_id, lambda spans: spans and not problem_of(spans, SERVICES))
    assert problem_of(spans, SERVICES) == ""
    failed = {(service_of(s), s["kind"], s["name"]) for s in spans if "error" in s.get("tags", {})}
    assert ("checkout", "CLIENT", QUOTE) in failed
    wait_until(lambda: any(link.get("errorCount") for link in server.links()), 10)


def test_a_failed_call_that_was_not_sampled_still_arrives(server: Zipkin, pair: tuple[Path, Path]):
    nobody = {"clients.order-book.target": f"localhost:{free_port()}", "traces.sample_ratio": 0}
    with started(pair[1], spans_to(server.endpoint) | nobody) as alone:
        trace_id = refused(alone.ports().http, quantity=1, status=503)
        spans = server.trace(trace_id, bool)
    (span,) = spans
    assert (service_of(span), span["kind"]) == ("checkout", "SERVER")
    assert span["name"] == "post /v1/purchases"
    assert "error" in span["tags"]


def test_a_failure_that_was_not_sampled_leaves_a_span_in_each_service_that_failed(
    server: Zipkin, pair: tuple[Path, Path]
):
    with broken(pair[0]), unsampled(server, pair) as port:
        trace_id = refused(port, quantity=1, status=500)
        spans = server.trace(trace_id, lambda spans: len(spans) > 1)
    (root,) = [span for span in spans if "parentId" not in span]
    (called,) = [span for span in spans if span.get("parentId") == root["id"]]
    assert (service_of(root), root["name"]) == ("checkout", "post /v1/purchases")
    assert (service_of(called), called["name"]) == ("order-book", CREATE)
    assert "error" in root["tags"]
    assert "error" in called["tags"]


def test_a_slow_call_that_was_not_sampled_leaves_a_span_in_each_service(
    server: Zipkin, pair: tuple[Path, Path]
):
    with unsampled(server, pair, keep_slower_than="0s") as port:
        trace_id = buy_over_rest(port)
        spans = server.trace(trace_id, lambda spans: len(spans) > len(METHODS))
    (root,) = [span for span in spans if "parentId" not in span]
    assert (service_of(root), root["name"]) == ("checkout", "post /v1/purchases")
    others = {
        (service_of(s), s["kind"], s["name"]) for s in spans if s.get("parentId") == root["id"]
    }
    assert others == {("order-book", "SERVER", method) for method in METHODS}


@contextmanager
def unsampled(server: Zipkin, pair: tuple[Path, Path], **traces: str) -> Iterator[int]:
    """Run both services, which sample nothing; yield the REST port of checkout."""
    chosen = spans_to(server.endpoint) | {"traces.sample_ratio": 0}
    chosen |= {f"traces.{key}": value for key, value in traces.items()}
    with started(pair[0], chosen) as called:
        target = {"clients.order-book.target": f"localhost:{called.ports().grpc}"}
        with started(pair[1], chosen | target) as calling:
            yield calling.ports().http


@contextmanager
def broken(order_book: Path) -> Iterator[None]:
    """Give its store a bug, as a release may."""
    (store,) = order_book.glob("src/*/orders/memory.py")
    healthy = store.read_text()
    assert BEGIN in healthy
    store.write_text(healthy.replace(BEGIN, "if 1 / 0:"))
    try:
        yield
    finally:
        store.write_text(healthy)


def refused(port: int, quantity: int, status: int) -> str:
    """Try to buy, and return the id of the trace."""
    url = f"http://127.0.0.1:{port}/v1/purchases"
    body: dict[str, Any] = {"sku": "green-tea", "quantity": quantity}
    headers = {"content-type": "application/json"}
    with pytest.raises(HTTPError) as refusal:
        urlopen(Request(url, json.dumps(body).encode(), headers), timeout=10)
    assert refusal.value.code == status
    return str(refusal.value.headers["x-trace-id"])
