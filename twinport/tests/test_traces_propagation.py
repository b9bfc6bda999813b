"""What callers say of a trace, in every form of W3C and B3, is kept, on both transports."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import grpc
import httpx2
import pytest
from opentelemetry import baggage
from opentelemetry.context import Context
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    SpanKind,
    format_trace_id,
    get_current_span,
    get_tracer_provider,
)

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import (
    OrderServiceServicer,
    OrderServiceStub,
    add_OrderServiceServicer_to_server,
)
from sample.settings import Settings
from twinport import Service, span
from twinport.calls import Call, current
from twinport.service.ports import Ports
from twinport.service.process import Build
from twinport.settings import Identity
from twinport.testing import FakeZipkin
from twinport.traces import TracesSettings, tracing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OTHER = "1" * 32
EVERY = ["tracecontext", "b3", "b3multi", "baggage"]
Fields = Sequence[tuple[str, str]]


class Seen:
    """What the handler of the latest call saw, and what it would send on."""

    baggage: dict[str, object]
    sent: dict[str, str]
    call: Call

    async def note(self, *_: object) -> pb.Order:
        """Be the handler, on either transport."""
        call = current.get()
        assert call is not None
        self.call, self.baggage, self.sent = call, dict(baggage.get_all()), {}
        with span("work"):
            inject(self.sent)
        return pb.Order()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def collector() -> Iterator[FakeZipkin]:
    with FakeZipkin() as collector:
        yield collector


@pytest.fixture
def settings(
    settings: Settings, collector: FakeZipkin, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    chosen = TracesSettings(endpoint=collector.endpoint, propagators=EVERY, sample_ratio=0)
    return settings.model_copy(update={"traces": chosen})


def noted_by(seen: Seen) -> Build[Settings]:
    async def built(service: Service, settings: Settings) -> None:
        @service.rest.get("/note")
        async def note() -> None:
            await seen.note()

        vars(servicer := OrderServiceServicer()).update(GetOrder=seen.note)
        service.rpc.add(add_OrderServiceServicer_to_server, servicer)

    return built


@pytest.fixture
async def noting(serving: Any, settings: Settings, seen: Seen) -> AsyncIterator[Ports]:
    async with serving(settings, noted_by(seen)) as ports:
        yield ports


async def over_http(ports: Ports, fields: Fields) -> None:
    async with httpx2.AsyncClient() as client:
        url = f"http://127.0.0.1:{ports.http}/note"
        assert (await client.get(url, headers=list(fields))).status_code == 200


async def over_grpc(ports: Ports, fields: Fields) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        await OrderServiceStub(channel).GetOrder(pb.GetOrderRequest(), metadata=tuple(fields))


BOTH = pytest.mark.parametrize("ask", [over_http, over_grpc])

W3C = ("traceparent", f"00-{TRACE}-{SPAN}-01")
STATE = "tracestate"
BAGGAGE: list[tuple[list[str], dict[str, str], str]] = [  # as it comes, is read, and goes on
    (["a=1"], {"a": "1"}, "a=1"),
    (["a=1", "b=2"], {"a": "1", "b": "2"}, "a=1,b=2"),
    (["a=1,b=2", "c=3"], {"a": "1", "b": "2", "c": "3"}, "a=1,b=2,c=3"),
    (["a=b+c"], {"a": "b+c"}, "a=b+c"),
    (["a=b%20c"], {"a": "b c"}, "a=b%20c"),
    (["a=b%2Bc"], {"a": "b+c"}, "a=b%2Bc"),
    (["a=v;ttl=5;secret"], {"a": "v"}, "a=v;ttl=5;secret"),
    (["a=%E2%82%AC%3B%2C"], {"a": "€;,"}, "a=%E2%82%AC%3B%2C"),
    (["a=b=c"], {"a": "b=c"}, "a=b=c"),
    (["a="], {"a": ""}, "a="),
    (["a%20b=1"], {"a%20b": "1"}, "a%20b=1"),
    (["a=1 , b = 2 ; p"], {"a": "1", "b": "2"}, "a=1,b = 2 ; p"),
    (["a=1,a=2"], {"a": "2"}, "a=1,a=2"),
    (['no value,,=nameless,in valid=1,a="q",b=2'], {"b": "2"}, "b=2"),
    ([f"long={'x' * 8000}", f"a={'y' * 300}"], {"long": "x" * 8000}, f"long={'x' * 8000}"),
]


@BOTH
@pytest.mark.parametrize(("came", "read", "goes_on"), BAGGAGE)
async def test_baggage_is_read_as_w3c_says_and_not_rewritten(
    noting, seen, ask, came, read, goes_on
):
    await ask(noting, [("baggage", each) for each in came])
    assert (seen.baggage, seen.sent.get("baggage")) == (read, goes_on)


def test_baggage_of_ones_own_is_written_as_w3c_says_beside_what_came():
    with tracing(TracesSettings(exporter="none"), Identity(name="orders")):
        context = extract({"baggage": "kept=v;ttl=5,new=old;ttl=5"}, Context())
        for key, value in {"new": "a b+c;,%€", "my key": 7}.items():
            context = baggage.set_baggage(key, value, context)
        inject(headers := {}, context)
        assert headers["baggage"] == "kept=v;ttl=5,new=a%20b+c%3B%2C%25%E2%82%AC,my%20key=7"
        assert baggage.get_all(extract(headers, Context()))["new"] == "a b+c;,%€"


STATES = [
    ([W3C, (STATE, "a=1,b=2")], "a=1,b=2"),
    ([W3C, (STATE, "a=1"), (STATE, "b=2")], "a=1,b=2"),
    ([("b3", f"{TRACE}-{SPAN}-1"), (STATE, "a=1")], None),  # it belongs to a traceparent
]


@BOTH
@pytest.mark.parametrize(("fields", "goes_on"), STATES)
async def test_the_state_of_a_trace_goes_on_whole(noting, seen, ask, fields, goes_on):
    await ask(noting, fields)
    assert (seen.call.trace_id, seen.sent.get(STATE)) == (TRACE, goes_on)


TWICE_W3C = [W3C, ("traceparent", f"00-{OTHER}-{SPAN}-01")]
TWICE_B3 = [("b3", f"{TRACE}-{SPAN}-1"), ("b3", f"{OTHER}-{SPAN}-1")]


@pytest.mark.parametrize(
    ("ask", "fields"),  # of several traceparent gRPC itself hands on one
    [(over_http, TWICE_W3C), (over_http, TWICE_B3), (over_grpc, TWICE_B3)],
)
async def test_two_parents_are_none(noting, seen, ask, fields):
    await ask(noting, fields)
    assert (seen.call.parent_id, seen.call.sampled) == (None, False)
    assert seen.call.trace_id not in {TRACE, OTHER}


IDS = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)]
DEBUG = [  # and whether its ids are taken
    ([("b3", f"{TRACE}-{SPAN}-d")], True),
    ([("b3", f"{TRACE}-{SPAN}-d-{SPAN}")], True),
    ([("b3", "d")], False),
    ([*IDS, ("x-b3-flags", "1")], True),
    ([*IDS, ("x-b3-flags", "1"), ("x-b3-sampled", "0")], True),
    ([("x-b3-flags", "1")], False),
    ([("traceparent", f"00-{TRACE}-{SPAN}-00"), ("b3", f"{TRACE}-{SPAN}-d")], True),
    ([W3C, ("x-b3-flags", "1")], True),
    ([W3C, ("b3", "d")], True),
]


@BOTH
@pytest.mark.parametrize(("fields", "has_ids"), DEBUG)
async def test_a_debug_decision_of_b3_is_kept(noting, seen, collector, ask, fields, has_ids):
    await ask(noting, fields)
    assert seen.call.sampled
    assert (seen.call.trace_id == TRACE) is has_ids
    assert seen.sent["b3"].startswith(seen.call.trace_id)
    assert seen.sent["b3"].endswith("-d")
    assert (seen.sent["x-b3-flags"], seen.sent.get("x-b3-sampled")) == ("1", None)
    assert seen.sent["traceparent"].endswith("-01")
    spans = collector.wait_for_count(2)
    assert [span["debug"] for span in spans] == [True, True]


NO_DEBUG = [
    [("b3", f"{TRACE}-{SPAN}-1")],
    [*IDS, ("x-b3-sampled", "1"), ("x-b3-flags", "0")],
    [W3C],
    [W3C, ("b3", f"{OTHER}-{SPAN}-d")],  # another trace's
]


@BOTH
@pytest.mark.parametrize("fields", NO_DEBUG)
async def test_a_span_is_not_debug_for_being_sampled(noting, seen, collector, ask, fields):
    await ask(noting, fields)
    assert seen.sent["b3"].endswith("-1")
    assert "x-b3-flags" not in seen.sent
    assert [span.get("debug") for span in collector.wait_for_count(2)] == [None, None]


@pytest.mark.parametrize(
    "carrier",
    [{"b3": f"{TRACE}-{SPAN}-d"}, {**dict(IDS), "x-b3-flags": "1"}, {**dict([W3C]), "b3": "d"}],
)
def test_what_is_read_beside_a_call_is_handed_on_too(carrier):
    with tracing(TracesSettings(exporter="none", propagators=EVERY), Identity(name="orders")):
        context = extract(carrier, Context())
        assert get_current_span(context).get_span_context().trace_flags.sampled
        inject(headers := {}, context)
    assert headers["b3"] == f"{TRACE}-{SPAN}-d"
    assert headers["x-b3-flags"] == "1"


STRANGERS: list[Fields] = [
    [W3C, (STATE, "a=1"), ("baggage", "a=1")],
    [("b3", f"{TRACE}-{SPAN}-1"), ("baggage", "a=1")],
    [("b3", f"{TRACE}-{SPAN}-d")],
    [*IDS, ("x-b3-flags", "1")],
    [("b3", "d")],
    [("x-b3-flags", "1")],
]


@pytest.fixture
def restarting(settings: Settings) -> Settings:
    traces = settings.traces.model_copy(update={"continuation": "restart"})
    return settings.model_copy(update={"traces": traces})


@BOTH
@pytest.mark.parametrize("fields", STRANGERS)
async def test_a_restarted_trace_takes_nothing_from_its_caller(
    serving, restarting, seen, ask, fields
):
    async with serving(restarting, noted_by(seen)) as ports:
        await ask(ports, [*fields, ("x-request-id", "theirs")])
    call = seen.call
    assert (call.parent_id, call.sampled, call.debug, seen.baggage) == (None, False, False, {})
    assert call.request_id == call.trace_id != TRACE
    assert seen.sent["traceparent"] == f"00-{call.trace_id}-{call.span_id}-00"
    assert seen.sent["b3"] == f"{call.trace_id}-{call.span_id}-0"
    assert not {STATE, "baggage", "x-b3-flags"} & set(seen.sent)


@BOTH
async def test_a_restarted_trace_is_linked_to_that_of_its_caller(serving, restarting, seen, ask):
    exporter = InMemorySpanExporter()

    async def built(service: Service, settings: Settings) -> None:
        provider: Any = get_tracer_provider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        await noted_by(seen)(service, settings)

    always = restarting.traces.model_copy(update={"sample_ratio": 1.0})
    async with serving(restarting.model_copy(update={"traces": always}), built) as ports:
        await ask(ports, [W3C])
    (server,) = [each for each in exporter.get_finished_spans() if each.kind is SpanKind.SERVER]
    (link,) = server.links
    assert (format_trace_id(link.context.trace_id), server.parent) == (TRACE, None)
