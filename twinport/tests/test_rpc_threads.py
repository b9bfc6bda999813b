"""Methods that are written with a plain `def` are served like asynchronous ones, in threads."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import (
    OrderServiceServicer,
    OrderServiceStub,
    add_OrderServiceServicer_to_server,
)
from sample.settings import Settings
from twinport.calls import CallSettings, current
from twinport.clients.kept_status import keep_status
from twinport.errors import NotFoundError, StartupError
from twinport.rpc.message_timeout import MAX_UNCUTTABLE

from support.wire import H2Wire

METHOD = f"/{pb.DESCRIPTOR.package}.OrderService"
NONE = pb.ListOrdersRequest()
KINDS = ["ListOrders", "WatchOrders", "ImportOrders", "QuoteOrders"]  # all four


class Threaded(OrderServiceServicer):
    """Does in each method what the test says, and tells in which thread and trace it did."""

    def __init__(self, act: Callable[[Any], object] = lambda _: None) -> None:
        self.act = act
        self.seen: list[tuple[threading.Thread, str]] = []
        self.begun, self.finished, self.left = (threading.Event() for _ in range(3))

    def ListOrders(self, request: Any, context: Any) -> Any:
        self._see(context)
        return pb.ListOrdersResponse(next_page_token="told")

    def WatchOrders(self, request: Any, context: Any) -> Iterator[Any]:
        try:
            yield pb.WatchOrdersResponse(resume_token="told")
            self._see(context)
        finally:
            self.left.set()

    def ImportOrders(self, requests: Iterator[Any], context: Any) -> Any:
        count = sum(1 for _ in requests)
        self._see(context)
        return pb.ImportOrdersResponse(created=count)

    def QuoteOrders(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        for request in requests:
            yield pb.QuoteOrdersResponse(sku=request.sku)
        self._see(context)

    def _see(self, context: Any) -> None:
        call = current.get()
        assert call is not None
        self.seen.append((threading.current_thread(), call.trace_id))
        self.begun.set()
        self.act(context)
        self.finished.set()


class Writing(Threaded):
    def WatchOrders(self, request: Any, context: Any) -> Any:
        context.write(pb.WatchOrdersResponse(resume_token="told"))
        self._see(context)

    def QuoteOrders(self, requests: Iterator[Any], context: Any) -> Any:
        for request in requests:
            context.write(pb.QuoteOrdersResponse(sku=request.sku))
        self._see(context)


class HandingOn(Threaded):
    """Its methods are plain, and return what is to be awaited."""

    def ListOrders(self, request: Any, context: Any) -> Any:
        return self._list(context)

    async def _list(self, context: Any) -> Any:
        self.act(context)
        await context.send_initial_metadata(())
        return pb.ListOrdersResponse(next_page_token="told")

    def QuoteOrders(self, requests: Any, context: Any) -> Any:
        return self._quote(requests)

    async def _quote(self, requests: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield pb.QuoteOrdersResponse(sku=request.sku)


@pytest.fixture
def opened(settings: Settings, serving: Callable[..., Any]) -> Callable[..., Any]:
    @asynccontextmanager
    async def opened(servicer: Any, **chosen: Any) -> AsyncIterator[Any]:
        async def built(service: Any, settings: Settings) -> None:
            service.rpc.add(add_OrderServiceServicer_to_server, servicer)

        changed = settings.model_copy(update=chosen)
        async with serving(changed, built) as ports:
            target = f"127.0.0.1:{ports.grpc}"
            async with grpc.aio.insecure_channel(target) as client:
                stub: Any = OrderServiceStub(client)
                stub.port = ports.grpc
                yield stub

    return opened


async def orders(kind: type[Any]) -> AsyncIterator[Any]:
    yield kind(sku="tea", quantity=1)
    yield kind(sku="cup", quantity=1)


async def answer(stub: Any, kind: str, **more: Any) -> Any:
    """Call a method of this kind to its end, and return what it answered."""
    if kind == "ListOrders":
        return (await stub.ListOrders(NONE, **more)).next_page_token
    if kind == "WatchOrders":
        return [
            each.resume_token async for each in stub.WatchOrders(pb.WatchOrdersRequest(), **more)
        ]
    if kind == "ImportOrders":
        keep_status(call := stub.ImportOrders(orders(pb.ImportOrdersRequest), **more))
        return (await call).created
    keep_status(call := stub.QuoteOrders(orders(pb.QuoteOrdersRequest), **more))
    return [each.sku async for each in call]


ANSWERS = dict(zip(KINDS, ["told", ["told"], 2, ["tea", "cup"]], strict=True))


@pytest.mark.parametrize("servicer", [Threaded, Writing])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_plain_method_answers_from_a_thread_in_the_trace_of_its_call(
    opened: Any, calls: list[Any], kind: str, servicer: type[Threaded]
):
    threaded = servicer()
    async with opened(threaded) as stub:
        assert await answer(stub, kind) == ANSWERS[kind]
    (thread, trace_id), call = threaded.seen[0], calls[0]
    assert thread is not threading.current_thread()
    assert (trace_id, call.code) == (call.trace_id, "OK")


@pytest.mark.parametrize("kind", ["ListOrders", "QuoteOrders"])
async def test_a_plain_method_may_return_what_is_awaited(opened: Any, kind: str):
    async with opened(HandingOn()) as stub:
        assert await answer(stub, kind) == ANSWERS[kind]


def wait_for_its_end(context: Any) -> None:
    while context.is_active():
        time.sleep(0.01)


async def codes_of(calls: list[Any]) -> list[str]:
    """Return how the call has ended, of which its caller may hear a moment before."""
    for _ in range(1000):
        if calls:
            break
        await asyncio.sleep(0.01)
    return [call.code for call in calls]


async def refused(stub: Any, kind: str, **more: Any) -> str:
    async with asyncio.timeout(10):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answer(stub, kind, **more)
    return caught.value.code().name


def fail(_: Any) -> None:
    raise NotFoundError("no such thing")


def abort(context: Any) -> None:
    context.abort(grpc.StatusCode.ABORTED, "as it is")


def stop_iteration(_: Any) -> None:
    next(iter([]))


def set_code(context: Any) -> None:
    context.set_code(grpc.StatusCode.DATA_LOSS)


def break_down(_: Any) -> None:
    raise ZeroDivisionError


ENDS = [
    (fail, "NOT_FOUND"),
    (abort, "ABORTED"),
    (set_code, "DATA_LOSS"),
    (break_down, "INTERNAL"),
    (stop_iteration, "INTERNAL"),
]


@pytest.mark.parametrize(("act", "code"), ENDS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_plain_method_ends_with_the_status_of_its_error(
    opened: Any, calls: list[Any], kind: str, act: Any, code: str
):
    async with opened(Threaded(act)) as stub:
        assert await refused(stub, kind) == code
    assert await codes_of(calls) == [code]


# The caller's own clock ends the call too, and on a busy machine its word comes long before ours.
LATE = {"DEADLINE_EXCEEDED", "CANCELLED"}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_plain_method_has_the_deadline_of_its_caller(
    opened: Any, calls: list[Any], kind: str
):
    threaded = Threaded(wait_for_its_end)
    async with opened(threaded) as stub:
        assert await refused(stub, kind, timeout=0.3) == "DEADLINE_EXCEEDED"
        assert await asyncio.to_thread(threaded.finished.wait, 10)
    assert (await codes_of(calls))[0] in LATE


async def test_the_timeout_of_calls_holds_for_a_plain_method(opened: Any, calls: list[Any]):
    bounds = CallSettings.model_validate({"timeout": "200ms"})
    async with opened(Threaded(wait_for_its_end), calls=bounds) as stub:
        assert await refused(stub, "ListOrders") == "DEADLINE_EXCEEDED"


async def test_a_generator_whose_reader_has_left_is_closed(opened: Any, calls: list[Any]):
    threaded = Threaded(wait_for_its_end)
    async with opened(threaded) as stub:
        watch = stub.WatchOrders(pb.WatchOrdersRequest())
        await watch.read()
        await asyncio.to_thread(threaded.begun.wait, 10)
        watch.cancel()
        assert await asyncio.to_thread(threaded.left.wait, 10)
    assert await codes_of(calls) == ["CANCELLED"]


class Importing(OrderServiceServicer):
    """Tells whether it believes its upload to be complete."""

    def __init__(self) -> None:
        self.is_complete = False
        self.begun, self.ended = threading.Event(), threading.Event()

    def ImportOrders(self, requests: Iterator[Any], context: Any) -> Any:
        context.add_callback(self.ended.set)
        for _ in requests:
            self.begun.set()
        self.is_complete = True
        return pb.ImportOrdersResponse()


@pytest.mark.parametrize("are_all", [True, False])
async def test_requests_that_were_broken_off_do_not_look_complete_to_a_thread(
    opened: Any, are_all: bool
):
    async def requests() -> AsyncIterator[Any]:
        yield pb.ImportOrdersRequest(sku="tea", quantity=1)
        if not are_all:
            await asyncio.Event().wait()

    importing = Importing()
    async with opened(importing) as stub:
        call = stub.ImportOrders(requests())
        await asyncio.to_thread(importing.begun.wait, 10)
        if not are_all:
            call.cancel()
        assert await asyncio.to_thread(importing.ended.wait, 10)
    assert importing.is_complete is are_all


@pytest.mark.parametrize("kind", ["ListOrders", "WatchOrders"])
async def test_a_plain_method_is_served_while_many_calls_wait_for_their_message(
    opened: Any, kind: str
):
    async with opened(Threaded()) as stub, H2Wire.open(stub.port) as wire:
        wire.begin()
        head = [(":method", "POST"), (":scheme", "http"), (":authority", "a")]
        more = [("content-type", "application/grpc"), ("te", "trailers")]
        for _ in range(MAX_UNCUTTABLE):
            wire.headers([*head, (":path", f"{METHOD}/ListOrders"), *more], end=False)
        await wire.frame()
        assert await answer(stub, kind) == ANSWERS[kind]


async def test_the_loop_goes_on_while_a_plain_method_blocks(opened: Any):
    released = threading.Event()
    threaded = Threaded(lambda _: released.wait(10))
    async with opened(threaded) as stub:
        call = asyncio.create_task(answer(stub, "ListOrders"))
        await asyncio.to_thread(threaded.begun.wait, 10)
        released.set()  # by the loop, which would not come to it
        assert await call == "told"


async def test_a_method_that_the_servicer_left_out_is_unimplemented(
    opened: Any, calls: list[Any], quiet: None
):
    async with opened(OrderServiceServicer()) as stub:
        assert {await refused(stub, kind) for kind in KINDS} == {"UNIMPLEMENTED"}
    assert [(call.code, call.error) for call in calls] == [("UNIMPLEMENTED", None)] * len(KINDS)


class Yielding(OrderServiceServicer):
    def ListOrders(self, request: Any, context: Any) -> Any:
        yield pb.ListOrdersResponse()


class YieldingAsynchronously(OrderServiceServicer):
    async def ListOrders(self, request: Any, context: Any) -> Any:
        yield pb.ListOrdersResponse()


@pytest.mark.parametrize("servicer", [Yielding, YieldingAsynchronously])
async def test_a_method_of_one_answer_that_yields_is_refused_at_the_start(
    opened: Any, servicer: Any
):
    with pytest.raises(StartupError, match=r"OrderService/ListOrders has one answer"):
        async with opened(servicer()):
            pass
