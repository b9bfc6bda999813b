"""Bytes of calls to other services: each side of a call counts the same, on both transports."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx2
import pytest
from fastapi import Request
from fastapi.responses import StreamingResponse

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from sample.settings import Settings
from twinport import Service
from twinport.calls import Call
from twinport.clients.clients import bounded_channel
from twinport.clients.http_client import HttpClient
from twinport.clients.outgoing_call import ClientCall, Outgoing
from twinport.clients.settings import ClientSettings
from twinport.errors import DeadlineExceededError, NotFoundError, UnavailableError
from twinport.service.ports import Ports

TEA = {"sku": "tea", "quantity": 2}
PART, PARTS = b"x" * 1000, 5


@pytest.fixture
def heard() -> list[ClientCall]:
    """Every call to another service that has ended."""
    return []


def outgoing(ports: Ports, heard: list[ClientCall], **chosen: Any) -> Outgoing:
    target, url = f"127.0.0.1:{ports.grpc}", f"http://127.0.0.1:{ports.http}"
    return Outgoing("next", ClientSettings(target=target, url=url, **chosen), [heard.append])


def agreed(heard: list[ClientCall], calls: list[Call]) -> tuple[int, int]:
    """Return what the one call has sent and received; the other side tells the same."""
    (ours,), (theirs,) = heard, calls
    assert (ours.sent_bytes, ours.received_bytes) == (theirs.received_bytes, theirs.sent_bytes)
    return ours.sent_bytes, ours.received_bytes


@pytest.fixture
async def stub(ports: Ports, heard: list[ClientCall]) -> AsyncIterator[OrderServiceStub]:
    async with bounded_channel(outgoing(ports, heard)) as channel:
        yield OrderServiceStub(channel)


async def test_a_grpc_call_counts_its_messages(stub, heard, calls):
    request = pb.CreateOrderRequest(**TEA)
    answer = await stub.CreateOrder(request)
    assert agreed(heard, calls) == (request.ByteSize(), answer.ByteSize())


QUOTED = [pb.QuoteOrdersRequest(sku="tea", quantity=n) for n in (1, 200)]
IMPORTED = [pb.ImportOrdersRequest(sku="tea", quantity=n) for n in (1, 200)]


async def one_by_one(messages: list[Any]) -> AsyncIterator[Any]:
    for message in messages:
        yield message


@pytest.mark.parametrize("iterated", [iter, one_by_one])
async def test_a_grpc_stream_counts_all_its_messages(stub, heard, calls, iterated):
    answers = [answer async for answer in stub.QuoteOrders(iterated(QUOTED))]
    assert len(answers) == len(QUOTED)
    assert agreed(heard, calls) == (size(QUOTED), size(answers))


@pytest.mark.parametrize("iterated", [iter, one_by_one])
async def test_a_grpc_stream_of_requests_counts_them(stub, heard, calls, iterated):
    answer = await stub.ImportOrders(iterated(IMPORTED))
    assert agreed(heard, calls) == (size(IMPORTED), answer.ByteSize())


async def test_what_is_written_to_a_grpc_stream_counts(stub, heard, calls):
    quotes = stub.QuoteOrders()
    answers = []
    for request in QUOTED:
        await quotes.write(request)
        answers.append(await quotes.read())
    await quotes.done_writing()
    assert await quotes.read() is grpc.aio.EOF
    assert agreed(heard, calls) == (size(QUOTED), size(answers))


async def test_a_grpc_stream_that_is_left_counts_what_had_come(stub, heard):
    watch = stub.WatchOrders(request := pb.WatchOrdersRequest(resume_token=""))
    first = await watch.read()
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch.read()
    (call,) = heard
    assert (call.sent_bytes, call.received_bytes) == (request.ByteSize(), first.ByteSize())
    assert call.code == "CANCELLED"


async def test_bytes_without_a_type_count_too(ports: Ports, heard, calls):
    order = pb.CreateOrderRequest(**TEA).SerializeToString()
    method = pb.DESCRIPTOR.services_by_name["OrderService"].full_name + "/CreateOrder"
    async with bounded_channel(outgoing(ports, heard)) as channel:
        answer = await channel.unary_unary(f"/{method}")(order)
    assert agreed(heard, calls) == (len(order), len(answer))


def size(messages: list[Any]) -> int:
    return sum(message.ByteSize() for message in messages)


@pytest.fixture
async def http(ports: Ports, heard: list[ClientCall]) -> AsyncIterator[httpx2.AsyncClient]:
    async with HttpClient(outgoing(ports, heard)) as http:
        yield http


async def test_an_http_call_counts_its_bodies(http, heard, calls):
    answer = await http.post("/v1/orders", json=TEA)
    assert agreed(heard, calls) == (len(answer.request.content), len(answer.content))


async def test_an_http_call_without_bodies_counts_none(http, heard, calls):
    order = (await http.post("/v1/orders", json=TEA)).json()
    heard.clear()
    calls.clear()
    await http.delete(f"/v1/orders/{order['id']}")
    assert agreed(heard, calls) == (0, 0)


async def test_an_http_body_that_is_streamed_counts(http, heard, calls):
    lines = [b'{"sku": "tea", "quantity": 1}\n', b'{"sku": "tea", "quantity": 200}\n']
    answer = await http.post("/v1/orders:import", content=one_by_one(lines))
    assert agreed(heard, calls) == (len(b"".join(lines)), len(answer.content))


async def test_a_problem_counts_as_an_answer(http, heard, calls):
    with pytest.raises(NotFoundError):
        await http.get("/v1/orders/unknown")
    sent, received = agreed(heard, calls)
    assert (sent, received > 0) == (0, True)


class Asking(httpx2.Auth):
    """Lists the orders before each request, as others fetch a token."""

    def auth_flow(self, request: httpx2.Request) -> Iterator[httpx2.Request]:
        yield httpx2.Request("GET", request.url.join("/v1/orders"))
        yield request


async def test_what_an_auth_asks_for_itself_is_not_of_the_call(http, heard, calls):
    answer = await http.post("/v1/orders", json=TEA, auth=Asking())
    assert [call.route for call in calls] == ["/v1/orders"] * 2
    assert agreed(heard, calls[1:]) == (len(answer.request.content), len(answer.content))


async def test_nothing_was_sent_where_nobody_is(heard):
    nobody = Outgoing("next", ClientSettings(url="http://127.0.0.1:1"), [heard.append])
    async with HttpClient(nobody) as http:
        with pytest.raises(UnavailableError):
            await http.post("/v1/orders", json=TEA)
    assert [(call.sent_bytes, call.received_bytes) for call in heard] == [(0, 0)]


class Streams:
    """Routes whose answers come in parts."""

    def __init__(self) -> None:
        self.tried = 0

    async def build(self, service: Service, settings: Settings) -> None:
        @service.rest.get("/parts")
        async def parts() -> StreamingResponse:
            return StreamingResponse(one_by_one([PART] * PARTS))

        @service.rest.get("/broken")
        async def broken() -> StreamingResponse:
            return StreamingResponse(self.breaking())

        @service.rest.get("/held")
        async def held() -> StreamingResponse:
            return StreamingResponse(self.holding())

        @service.rest.put("/flaky")
        async def flaky(request: Request) -> StreamingResponse:
            await request.body()
            self.tried += 1
            if self.tried == 1:
                raise UnavailableError("away for a moment")
            return StreamingResponse(one_by_one([PART]))

    async def breaking(self) -> AsyncIterator[bytes]:
        yield PART
        raise ConnectionError("the disk is gone")

    async def holding(self) -> AsyncIterator[bytes]:
        yield PART
        await asyncio.Event().wait()


Calling = Callable[..., Any]


@pytest.fixture
def streaming(settings: Settings, serving: Callable[..., Any], heard: list[ClientCall]) -> Calling:
    @asynccontextmanager
    async def calling(**chosen: Any) -> AsyncIterator[httpx2.AsyncClient]:
        async with (
            serving(settings, Streams().build) as ports,
            HttpClient(outgoing(ports, heard, **chosen)) as http,
        ):
            yield http

    return calling


async def test_a_streamed_answer_counts_as_it_is_read_until_its_end(
    streaming: Calling, heard, calls
):
    async with streaming() as http, http.stream("GET", "/parts") as answer:
        assert heard == []
        assert len(await answer.aread()) == PARTS * len(PART)
        assert len(heard) == 1
    assert agreed(heard, calls) == (0, PARTS * len(PART))
    assert (heard[0].status, heard[0].code) == (200, "OK")


async def test_a_streamed_answer_that_is_left_counts_what_was_read(streaming: Calling, heard):
    async with streaming() as http, http.stream("GET", "/held") as answer:
        parts = answer.aiter_raw()
        assert await anext(parts) == PART
        assert heard == []
    assert [call.received_bytes for call in heard] == [len(PART)]


async def test_a_streamed_answer_that_breaks_off_is_an_error_of_the_other_service(
    streaming: Calling, heard
):
    async with streaming() as http, http.stream("GET", "/broken") as answer:
        with pytest.raises(UnavailableError, match="next is not available"):
            await answer.aread()
    assert [(call.status, call.code) for call in heard] == [(200, "UNAVAILABLE")]


async def test_a_streamed_answer_that_stops_is_late(streaming: Calling, heard):
    async with streaming() as http, http.stream("GET", "/held", timeout=2) as answer:
        with pytest.raises(DeadlineExceededError, match="next did not answer in time"):
            await answer.aread()
    assert [(call.status, call.code) for call in heard] == [(200, "DEADLINE_EXCEEDED")]


async def test_each_attempt_of_an_http_call_counts(streaming: Calling, heard, calls):
    async with streaming() as http:
        answer = await http.put("/flaky", content=PART)
        assert answer.content == PART
    (ours,) = heard
    assert ours.sent_bytes == sum(call.received_bytes for call in calls) == 2 * len(PART)
    assert ours.received_bytes == sum(call.sent_bytes for call in calls) > len(PART)
