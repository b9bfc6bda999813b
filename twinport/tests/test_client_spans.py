"""Spans of calls to other services, which are real servers on real ports."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import grpc
import httpx2
import pytest
from opentelemetry.context import attach, get_current
from opentelemetry.propagate import inject
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from twinport.calls import Call, current
from twinport.clients.clients import connect
from twinport.clients.grpc_interceptors import client_interceptors
from twinport.clients.settings import ClientSettings
from twinport.service.ports import Ports
from twinport.settings import Identity
from twinport.testing import RefusedError, rpc_answer
from twinport.traces import TracesSettings, Tracing, span, tracing
from twinport.traces.httpx_spans import instrument

from support.edges import opened

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
NOWHERE = TracesSettings(exporter="none", propagators=["tracecontext", "b3multi", "baggage"])


class Ended(SpanProcessor):
    """Client spans that have ended; `next` waits for one more."""

    def __init__(self) -> None:
        self.spans: asyncio.Queue[ReadableSpan] = asyncio.Queue()

    def on_end(self, span: ReadableSpan) -> None:
        if span.kind.name == "CLIENT":
            self.spans.put_nowait(span)

    async def next(self) -> ReadableSpan:
        return await asyncio.wait_for(self.spans.get(), 5)


@pytest.fixture
def traces(ports: Ports) -> Iterator[Tracing]:
    with tracing(NOWHERE, Identity(name="caller")) as traces:
        yield traces


@pytest.fixture
def ended(traces: Tracing) -> Ended:
    traces.add(ended := Ended())
    return ended


@pytest.fixture
async def stub(ports: Ports) -> AsyncIterator[OrderServiceStub]:
    target = f"127.0.0.1:{ports.grpc}"
    spans = client_interceptors(target)
    async with grpc.aio.insecure_channel(target, interceptors=spans) as channel:
        yield OrderServiceStub(channel)


@contextmanager
def under(traces: Tracing, flag: str) -> Iterator[Call]:
    """Answer a call meanwhile, whose caller has decided about tracing."""
    parent = f"00-{TRACE}-{SPAN}-0{flag}"
    sent = {"traceparent": parent, "baggage": "tenant=acme", "tracestate": "a=b"}
    before = get_current()
    call = opened(traces, sent)
    token = current.set(call)
    yield call
    current.reset(token)
    attach(before)  # or later tests have its baggage


ORDER = pb.CreateOrderRequest(sku="green-tea", quantity=2)


async def create(stub: OrderServiceStub) -> None:
    await stub.CreateOrder(ORDER)


async def silence() -> AsyncIterator[pb.ImportOrdersRequest]:
    await asyncio.Event().wait()
    yield pb.ImportOrdersRequest()


async def quote(stub: OrderServiceStub) -> None:
    asked = [pb.QuoteOrdersRequest(sku="green-tea", quantity=2)]
    assert len([answer async for answer in stub.QuoteOrders(iter(asked))]) == 1


async def import_many(stub: OrderServiceStub) -> None:
    await stub.ImportOrders(iter([pb.ImportOrdersRequest(sku="green-tea", quantity=2)]))


REFUSED_AT_ONCE = [pb.ImportOrdersRequest(sku="x" * 65_536)] * 64


async def test_an_upload_that_is_refused_while_it_is_sent_ends_with_the_status_of_its_server(
    stub: OrderServiceStub, ended: Ended
):
    for _ in range(20):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ImportOrders(iter(REFUSED_AT_ONCE))
        assert caught.value.code().name == "INVALID_ARGUMENT"
        assert (await ended.next()).attributes["rpc.response.status_code"] == "INVALID_ARGUMENT"


async def test_nor_does_a_test_read_another_status(ports: Ports):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        stub = OrderServiceStub(channel)
        assert {await refusal_as_a_test_reads_it(stub) for _ in range(100)} == {"INVALID_ARGUMENT"}


async def refusal_as_a_test_reads_it(stub: OrderServiceStub) -> str:
    with pytest.raises(RefusedError) as caught:
        await rpc_answer(stub.ImportOrders(iter(REFUSED_AT_ONCE)))
    return caught.value.refusal.code


ALL = [(create, "CreateOrder"), (quote, "QuoteOrders"), (import_many, "ImportOrders")]


@pytest.mark.parametrize(("call", "method"), ALL)
async def test_each_kind_of_grpc_call_has_a_client_span(stub, ended, calls, call, method):
    with span("work") as work:
        await call(stub)
    client = await ended.next()
    assert client.name.endswith(f".OrderService/{method}")
    assert client.parent.span_id == work.get_span_context().span_id
    assert client.status.is_unset
    told = client.attributes
    assert (told["rpc.method"], told["rpc.system.name"]) == (client.name, "grpc")
    assert (told["server.address"], told["rpc.response.status_code"]) == ("127.0.0.1", "OK")
    assert calls[-1].parent_id == f"{client.context.span_id:016x}"


async def test_a_client_of_the_settings_is_traced_under_the_name_of_the_other(ports, ended, calls):
    async with connect(ClientSettings(target=f"127.0.0.1:{ports.grpc}"), "orders") as channel:
        await create(OrderServiceStub(channel))
    client = await ended.next()
    assert client.attributes["service.peer.name"] == "orders"
    assert client.attributes["rpc.response.status_code"] == "OK"
    assert calls[-1].parent_id == f"{client.context.span_id:016x}"


async def test_a_failed_grpc_call_tells_its_status(stub, ended):
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.GetOrder(pb.GetOrderRequest(id="4711"))
    client = await ended.next()
    assert client.attributes["rpc.response.status_code"] == "NOT_FOUND"
    assert client.attributes["error.type"] == client.status.description == "NOT_FOUND"


async def test_a_late_grpc_call_tells_so(stub, ended):
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.ImportOrders(silence(), timeout=0.05)
    assert (await ended.next()).attributes["rpc.response.status_code"] == "DEADLINE_EXCEEDED"


async def test_a_stream_that_is_broken_off_has_its_span(stub, ended):
    answers = stub.WatchOrders(pb.WatchOrdersRequest())
    await anext(aiter(answers))
    answers.cancel()
    assert (await ended.next()).attributes["rpc.response.status_code"] == "CANCELLED"


async def test_a_cancelled_grpc_call_has_its_span(stub, ended):
    call = stub.ImportOrders(silence())
    await call.wait_for_connection()
    call.cancel()
    assert (await ended.next()).attributes["rpc.response.status_code"] == "CANCELLED"


async def test_an_untraced_call_tells_the_next_service_so(stub, traces, ended, calls):
    with under(traces, "0") as ours:
        await stub.CreateOrder(ORDER)
    assert (calls[-1].trace_id, calls[-1].parent_id) == (TRACE, ours.span_id)
    assert not calls[-1].sampled
    assert ended.spans.empty()


@pytest.fixture
async def http(ports: Ports) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}") as client:
        instrument(client)
        yield client


async def test_an_http_call_has_a_client_span_without_secrets(http, ended, calls):
    with span("work"):
        answer = await http.get("/v1/orders/4711?token=opensesame")
    client = await ended.next()
    assert client.name == "GET"  # of a client without a name
    peer = (client.attributes["server.address"], client.attributes["server.port"])
    assert peer == (http.base_url.host, http.base_url.port)
    assert client.attributes["http.response.status_code"] == answer.status_code == 404
    assert client.attributes["url.full"] == f"{http.base_url}/v1/orders/4711"
    assert "opensesame" not in client.to_json()
    assert calls[-1].parent_id == f"{client.context.span_id:016x}"


async def test_the_span_of_an_http_call_has_the_name_of_its_client(http, ended):
    async with httpx2.AsyncClient(base_url=http.base_url) as named:
        instrument(named, "shop")
        await named.get("/v1/orders/4711")
    assert (await ended.next()).name == "GET shop"


async def test_an_untraced_http_call_tells_the_next_service_so(http, traces, ended, calls):
    with under(traces, "0") as ours:
        await http.get("/v1/orders/4711")
    assert (calls[-1].trace_id, calls[-1].parent_id) == (TRACE, ours.span_id)
    assert not calls[-1].sampled
    assert ended.spans.empty()


@pytest.mark.parametrize("flag", ["0", "1"])
def test_what_the_caller_sent_is_handed_on_in_every_configured_form(traces, flag):
    headers: dict[str, str] = {}
    with under(traces, flag) as call:
        inject(headers)
    assert headers == {
        "traceparent": f"00-{TRACE}-{call.span_id}-0{flag}",
        "tracestate": "a=b",
        "x-b3-traceid": TRACE,
        "x-b3-spanid": call.span_id,
        "x-b3-sampled": flag,
        "baggage": "tenant=acme",
    }
