"""What every gRPC call has: ids, compression, limits; and what is described to whom."""

import asyncio
import gc
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from grpc._cython import cygrpc
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from hyperframe.frame import HeadersFrame, PingFrame
from pydantic import ValidationError

from sample.app import build
from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import (
    OrderServiceServicer,
    OrderServiceStub,
    add_OrderServiceServicer_to_server,
)
from sample.settings import Settings
from twinport import Service
from twinport.calls import Call, CallSettings, Gate
from twinport.clients.clients import connect
from twinport.clients.grpc_channel import options as channel_options
from twinport.clients.settings import ClientKeepalive, ClientSettings, ClientTls
from twinport.errors import InvalidArgumentError, OverloadedError
from twinport.lifecycle import LifecycleSettings
from twinport.rpc.message_timeout import MAX_UNCUTTABLE
from twinport.rpc.server import options
from twinport.rpc.settings import GrpcKeepalive, GrpcSettings
from twinport.service.ports import Ports
from twinport.settings import Sources, load
from twinport.traces import span

from support.places import SAMPLE
from support.wire import H2Wire

CONFIG = SAMPLE / "config"
PACKAGE = Settings.__module__.partition(".")[0]
LONG = "x" * 100_000
PATIENCE_S = 40  # what a test waits for comes at once, but for a busy machine
CALM = 11  # ENHANCE_YOUR_CALM of RFC 9113, 7
NONE = pb.ListOrdersRequest()
WATCH = pb.WatchOrdersRequest()


class Relay:
    """Stands between a client and a port, and counts what goes through, each way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.asked = self.answered = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(
            self._copy(reader, to_server, "asked"), self._copy(from_server, writer, "answered")
        )

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: str
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                setattr(self, counted, getattr(self, counted) + len(data))
                writer.write(data)
        writer.close()


@pytest.fixture
def opened(settings: Settings, serving: Callable[..., Any]) -> Callable[..., Any]:
    def opened(calls: CallSettings | None = None, **chosen: Any) -> Any:
        here = {"host": "127.0.0.1", "port": 0}
        grpc_settings = GrpcSettings.model_validate(here | chosen)
        changed = {"grpc": grpc_settings, "calls": calls or settings.calls}
        return serving(settings.model_copy(update=changed))

    return opened


def channel(ports: Ports, *options: tuple[str, Any], **chosen: Any) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}", options, **chosen)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    return caught.value


def ids(metadata: Any) -> dict[str, str]:
    found = {name: value for name, value in metadata if name in {"x-trace-id", "x-request-id"}}
    assert len(found) == 2
    return found


ANSWERS = [  # method, request, code
    ("ListOrders", NONE, "OK"),
    ("GetOrder", pb.GetOrderRequest(id="unknown"), "NOT_FOUND"),
    ("CreateOrder", pb.CreateOrderRequest(), "INVALID_ARGUMENT"),
    ("NoSuchMethod", NONE, "UNIMPLEMENTED"),
]


@pytest.mark.parametrize(("method", "request_", "code"), ANSWERS)
async def test_every_status_comes_with_its_trace_and_its_request(
    ports: Ports, calls: list[Any], method: str, request_: Any, code: str
):
    service = pb.DESCRIPTOR.services_by_name["OrderService"].full_name
    async with channel(ports) as opened:
        ask = opened.unary_unary(f"/{service}/{method}", type(request_).SerializeToString)
        call = ask(request_, metadata=[("x-request-id", "order-4711")])
        with suppress(grpc.aio.AioRpcError):
            await call
        assert (await call.code()).name == code
        told = ids(await call.trailing_metadata())
    assert [(c.trace_id, c.request_id, c.code) for c in calls] == [
        (told["x-trace-id"], "order-4711", code)
    ]
    assert told["x-request-id"] == "order-4711"


async def test_an_answer_names_a_request_only_if_that_is_not_the_trace(
    ports: Ports, calls: list[Any]
):
    async with channel(ports) as client:
        call: Any = OrderServiceStub(client).ListOrders(NONE)
        await call
        told = dict(await call.trailing_metadata())
    assert calls[0].request_id == calls[0].trace_id
    assert told == {"x-trace-id": calls[0].trace_id}


class Uploads(OrderServiceServicer):
    """Takes uploads, and tells which it believes to be complete."""

    client: grpc.aio.Channel

    def __init__(self) -> None:
        self.begun, self.ended, self.are_complete = asyncio.Event(), asyncio.Event(), False
        vars(self).update(ImportOrders=self.take, QuoteOrders=self.reply)

    async def take(self, requests: AsyncIterator[Any], context: object) -> pb.ImportOrdersResponse:
        async for _ in self.seen(requests):
            pass
        return pb.ImportOrdersResponse()

    async def reply(
        self, requests: AsyncIterator[Any], context: object
    ) -> AsyncIterator[pb.QuoteOrdersResponse]:
        async for _ in self.seen(requests):
            yield pb.QuoteOrdersResponse()

    async def seen(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            async for request in requests:
                self.begun.set()
                yield request
            self.are_complete = True
        finally:
            self.ended.set()


@pytest.fixture
async def uploads(serving: Callable[..., Any], settings: Settings) -> AsyncIterator[Uploads]:
    uploads = Uploads()

    async def built(service: Any, settings: Settings) -> None:
        service.rpc.add(add_OrderServiceServicer_to_server, uploads)

    async with serving(settings, built) as ports, channel(ports) as uploads.client:
        yield uploads


async def orders(kind: type[Any], *, are_all: bool) -> AsyncIterator[Any]:
    """Yield one request, and if that is not all never end."""
    yield kind(sku="tea", quantity=1)
    if not are_all:
        await asyncio.Event().wait()


async def import_orders(stub: Any, seconds: float | None, **more: Any) -> None:
    await stub.ImportOrders(orders(pb.ImportOrdersRequest, **more), timeout=seconds)


async def quote_orders(stub: Any, seconds: float | None, **more: Any) -> None:
    async for _ in stub.QuoteOrders(orders(pb.QuoteOrdersRequest, **more), timeout=seconds):
        pass


@pytest.mark.parametrize("upload", [import_orders, quote_orders])
@pytest.mark.parametrize("code", ["OK", "CANCELLED", "DEADLINE_EXCEEDED"])
async def test_requests_that_were_broken_off_do_not_look_complete(
    uploads: Uploads, calls: list[Any], upload: Any, code: str
):
    seconds = 0.2 if code == "DEADLINE_EXCEEDED" else None
    stub = OrderServiceStub(uploads.client)
    uploading = asyncio.create_task(upload(stub, seconds, are_all=code == "OK"))
    await uploads.begun.wait()
    if code == "CANCELLED":
        uploading.cancel()
    with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
        await uploading
    await uploads.ended.wait()
    assert uploads.are_complete is (code == "OK")
    (ended,) = calls
    # A caller whose time is over says so, and on a busy machine that comes before our own clock.
    assert ended.code in ({code, "CANCELLED"} if code == "DEADLINE_EXCEEDED" else {code})


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
async def test_answers_are_compressed_if_the_settings_say_so(opened, compression: str):
    async with opened(compression=compression) as small, opened() as plain:
        compressed, as_it_is = [await listed(ports) for ports in (small, plain)]
    assert compressed.answered < as_it_is.answered / 2


async def listed(ports: Ports) -> Relay:
    """Create orders that are much alike and list them often."""
    relay = Relay(ports.grpc)
    async with relay.open() as port, connect(settings_for(port)) as client:
        stub: Any = OrderServiceStub(client)
        for number in range(50):
            key = f"key-{number}"
            await stub.CreateOrder(
                pb.CreateOrderRequest(sku="t" * 60, quantity=1, idempotency_key=key)
            )
        for _ in range(10):
            assert len((await stub.ListOrders(NONE)).orders) == 50
    return relay


def settings_for(port: int, **chosen: Any) -> ClientSettings:
    return ClientSettings.model_validate({"target": f"127.0.0.1:{port}"} | chosen)


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
async def test_requests_are_compressed_if_the_settings_of_the_client_say_so(
    ports: Ports, compression: str
):
    compressed = await sent(ports, compression=compression)
    as_it_is = await sent(ports)
    assert compressed.asked < len(LONG) / 10 < len(LONG) < as_it_is.asked


async def sent(ports: Ports, **chosen: Any) -> Relay:
    relay = Relay(ports.grpc)
    async with relay.open() as port, connect(settings_for(port, **chosen)) as client:
        stub: Any = OrderServiceStub(client)
        with pytest.raises(InvalidArgumentError):
            await stub.CreateOrder(pb.CreateOrderRequest(sku=LONG))
    return relay


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_large_message_is_refused_also_if_it_is_large_only_when_unpacked(
    opened, compression: Any
):
    async with opened(limits={"message_size": "100KiB"}) as ports, channel(ports) as client:
        stub: Any = OrderServiceStub(client)
        large = pb.CreateOrderRequest(sku=LONG * 10)
        error = await refused(stub.CreateOrder(large, compression=compression))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await stub.ListOrders(NONE)).orders == []


async def test_large_metadata_is_refused(opened):
    async with opened(limits={"metadata_size": "8KiB"}) as ports, channel(ports) as client:
        stub: Any = OrderServiceStub(client)
        error = await refused(stub.ListOrders(NONE, metadata=[("a", "x" * 9000)]))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await stub.ListOrders(NONE, metadata=[("a", "x" * 4000)])).orders == []


METHOD = f"/{pb.DESCRIPTOR.package}.OrderService"
HEALTH = "/grpc.health.v1.Health"


def begin_call(wire: H2Wire, path: str, *, end: bool = False) -> int:
    """Send the metadata of a call, and no message."""
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", path)]
    more = [("content-type", "application/grpc"), ("te", "trailers")]
    return wire.headers([*head, *more], end=end)


class StatusWire(H2Wire):
    """Notes the gRPC status of each call."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.statuses: dict[int, str] = {}

    def note(self, frame: Any) -> None:
        super().note(frame)
        if isinstance(frame, HeadersFrame):
            code = int(self.heads[frame.stream_id]["grpc-status"])
            self.statuses[frame.stream_id] = STATUSES[code].name


STATUSES = {status.value[0]: status for status in grpc.StatusCode}


@pytest.mark.parametrize("begun", [b"", b"\0\0\0\0"], ids=["silent", "dripping"])
@pytest.mark.parametrize(
    "path", [f"{METHOD}/CreateOrder", f"{METHOD}/WatchOrders", f"{HEALTH}/Check"]
)
async def test_a_call_whose_message_does_not_come_is_cut(opened, path: str, begun: bytes):
    limits = {"message_time": "300ms"}
    async with opened(limits=limits) as ports, StatusWire.open(ports.grpc) as wire:
        wire.begin()
        for _ in range(MAX_UNCUTTABLE + 2):
            wire.body(begin_call(wire, path), begun)
        await wire.ends(2)
        assert set(wire.statuses.values()) == {"DEADLINE_EXCEEDED"}
        async with channel(ports) as client:
            assert (await OrderServiceStub(client).ListOrders(NONE)).orders == []


async def test_a_call_whose_message_has_come_has_its_own_time(opened):
    limits = {"message_time": "1s"}
    async with (
        opened(limits=limits) as ports,
        channel(ports) as client,
        H2Wire.open(ports.grpc) as wire,
    ):
        stub: Any = OrderServiceStub(client)
        plain = stub.WatchOrders(WATCH)
        await plain.read()
        wire.begin()
        for _ in range(MAX_UNCUTTABLE):
            begin_call(wire, f"{METHOD}/CreateOrder")
        cuttable = stub.WatchOrders(WATCH)
        await cuttable.read()
        await asyncio.sleep(1.4)
        await stub.CreateOrder(pb.CreateOrderRequest(sku="tea", quantity=1))
        assert [(await watch.read()).order.sku for watch in (plain, cuttable)] == ["tea"] * 2


async def test_a_call_without_a_message_does_not_hold_up_the_stop(serving, settings: Settings):
    lifecycle = LifecycleSettings.model_validate(
        {"drain": "0s", "grace": "60s", "flush": "1s", "platform_grace": "90s"}
    )
    patient = settings.model_copy(update={"lifecycle": lifecycle})
    async with (
        asyncio.timeout(PATIENCE_S),
        AsyncExitStack() as left_open,
        serving(patient) as ports,
    ):
        wire = await left_open.enter_async_context(H2Wire.open(ports.grpc))
        wire.begin()
        begin_call(wire, f"{METHOD}/CreateOrder")
        await wire.frame()


async def test_who_makes_many_calls_that_end_without_a_message_is_told(opened):
    async with opened() as ports, StatusWire.open(ports.grpc) as wire:
        wire.begin()
        for _ in range(4 * MAX_UNCUTTABLE):
            begin_call(wire, f"{METHOD}/CreateOrder", end=True)
        await wire.ends(3 * MAX_UNCUTTABLE)  # the others are grpc's, which drops them
        assert set(wire.statuses.values()) == {"INVALID_ARGUMENT"}


async def taken() -> None:
    """Let the server, which runs here as well, take what has come: grpc keeps no order."""
    for _ in range(10):
        await asyncio.sleep(0.02)


async def begin_and_leave(ports: Ports) -> None:
    async with H2Wire.open(ports.grpc) as wire:
        wire.begin()
        for _ in range(2 * MAX_UNCUTTABLE):
            wire.reset(begin_call(wire, f"{METHOD}/CreateOrder"))


async def test_who_has_left_makes_room_for_calls_without_a_message(opened):
    async with opened() as ports, channel(ports) as client:
        for _ in range(3):
            await begin_and_leave(ports)
            assert (await OrderServiceStub(client).ListOrders(NONE)).orders == []


async def test_of_too_many_calls_without_a_message_the_oldest_is_cut(opened):
    async with opened(limits={"waiting": 10}) as ports, StatusWire.open(ports.grpc) as wire:
        wire.begin()
        for _ in range(MAX_UNCUTTABLE):
            begin_call(wire, f"{METHOD}/CreateOrder")
        await taken()
        oldest = begin_call(wire, f"{METHOD}/CreateOrder")
        await taken()
        for _ in range(10):
            begin_call(wire, f"{METHOD}/CreateOrder")
        await wire.answer(oldest)
        assert wire.statuses == {oldest: "RESOURCE_EXHAUSTED"}
        async with channel(ports) as client:
            assert (await OrderServiceStub(client).ListOrders(NONE)).orders == []


async def flood(port: int) -> set[str]:
    """Begin as many calls as one connection may; return what those hear that are refused."""
    async with StatusWire.open(port) as wire:
        wire.begin()
        for _ in range(100):
            begin_call(wire, f"{METHOD}/CreateOrder")
        await wire.ends(100 - MAX_UNCUTTABLE - 10)  # which may all be of this connection
        return set(wire.statuses.values())


async def test_a_flood_of_calls_without_a_message_is_told_that_it_is_too_much(opened):
    async with opened(limits={"waiting": 10}) as ports:
        heard = await asyncio.gather(*(flood(ports.grpc) for _ in range(12)))
    assert set().union(*heard) == {"RESOURCE_EXHAUSTED"}


BYTES = b"\xff\xfe"
MISTAKES: dict[str, dict[Any, Any]] = {  # headers of a call, by which any client may be wrong
    "metadata of bytes": {b"x-a": BYTES},
    "a user agent of bytes": {b"user-agent": BYTES},
    "a path of bytes": {b":path": b"/a/" + BYTES},
    "an unknown encoding": {b"grpc-encoding": b"zstd"},
    "no timeout": {b"grpc-timeout": b"soon"},
    "no number": {b"grpc-previous-rpc-attempts": b"a"},
    "an unknown scheme": {b":scheme": b"ftp"},
    "a large key": {b"x" * 20_000: b"a"},
    "no path": {b":path": b""},
}


async def make_mistake(port: int, headers: dict[Any, Any]) -> None:
    path = f"{METHOD}/ListOrders".encode()
    head = {b":method": b"POST", b":scheme": b"http", b":authority": b"a", b":path": path}
    more = {b"content-type": b"application/grpc", b"te": b"trailers"}
    async with H2Wire.open(port) as wire:
        wire.begin()
        call = wire.headers((head | more | headers).items(), end=False)
        wire.body(call, b"\0\0\0\0\0", end=True)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await wire.answer(call)


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_no_mistake_of_a_client_is_an_error_or_ends_the_server(
    opened, caplog: pytest.LogCaptureFixture, capfd: Any, mistake: str
):
    async with opened() as ports, channel(ports) as client:
        stub: Any = OrderServiceStub(client)
        watch = stub.WatchOrders(WATCH)
        await watch.read()
        await make_mistake(ports.grpc, MISTAKES[mistake])
        await create_again(stub)
        assert (await watch.read()).order.sku == "tea"  # calls under way go on
        watch.cancel()
    gc.collect()  # for what asyncio says of a task that nobody has asked
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
    assert "Traceback" not in capfd.readouterr().err


async def create_again(stub: Any) -> None:
    """Create an order; grpc cancels what it takes between the end of a server and the next one."""
    order = pb.CreateOrderRequest(sku="tea", quantity=1)
    for _ in range(100):
        with suppress(grpc.aio.AioRpcError):
            await stub.CreateOrder(order, wait_for_ready=True, timeout=20)
            return
    raise AssertionError("no call is answered any more")


async def test_a_call_too_many_on_one_connection_waits(opened):
    async with opened(limits={"streams": 2}) as ports, channel(ports) as client:
        stub: Any = OrderServiceStub(client)
        watches = [stub.WatchOrders(WATCH) for _ in range(2)]
        for watch in watches:
            await watch.read()
        waiting = stub.ListOrders(NONE)
        await asyncio.sleep(0.2)
        assert not waiting.done()
        watches[0].cancel()
        async with asyncio.timeout(PATIENCE_S):
            assert (await waiting).orders == []


TYPES = ["application/grpc", "application/grpc+proto", "text/plain", "application/json"]
INTERNAL_ERROR = 2  # of RFC 9113, 7


@pytest.mark.parametrize("kind", TYPES)
async def test_a_call_is_what_says_so_by_te_whatever_its_content_type(opened, kind: str):
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "a")]
    head += [(":path", f"{METHOD}/ListOrders"), ("content-type", kind)]
    async with opened() as ports, H2Wire.open(ports.grpc) as wire:
        wire.begin()
        call, other = (
            wire.headers([*head, ("te", "trailers")], end=False),
            wire.headers(head, end=False),
        )
        for each in (call, other):
            wire.body(each, b"\0\0\0\0\0", end=True)
            await wire.answer(each)
        assert wire.heads[call]["grpc-status"] == "0"
        assert wire.answers[other].reset == INTERNAL_ERROR


async def test_a_connection_too_many_is_closed(opened):
    async with opened(limits={"connections": 1}) as ports, channel(ports) as client:
        assert (await OrderServiceStub(client).ListOrders(NONE)).orders == []
        async with H2Wire.open(ports.grpc) as another:
            assert await another.closed() == b""
        assert (await OrderServiceStub(client).ListOrders(NONE)).orders == []


class Held:
    """A route that never answers, and tells when its call has begun and ended."""

    def __init__(self) -> None:
        self.begun, self.ended = asyncio.Event(), asyncio.Event()

    async def build(self, service: Service, settings: Settings) -> None:
        await build(service, settings)
        service.rest.get("/held")(self.hold)

    async def hold(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


async def test_unary_calls_of_both_transports_are_counted_together(serving, settings: Settings):
    held = Held()
    few = settings.model_copy(update={"calls": CallSettings(max_concurrent=1)})
    async with (
        serving(few, held.build) as ports,
        channel(ports) as client,
        httpx2.AsyncClient() as http,
    ):
        stub: Any = OrderServiceStub(client)
        call = asyncio.create_task(http.get(f"http://127.0.0.1:{ports.http}/held"))
        await held.begun.wait()
        error = await refused(stub.ListOrders(NONE))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ids(error.trailing_metadata())
        await stub.WatchOrders(WATCH).read()  # a stream has its own bound
        call.cancel()
        await held.ended.wait()
        await until_admitted(stub)


async def until_admitted(stub: Any) -> None:
    """Ask until the place is given back, which is after the call has ended."""
    async with asyncio.timeout(PATIENCE_S):
        while not await is_admitted(stub):
            """Ask again."""


async def is_admitted(stub: Any) -> bool:
    with suppress(grpc.aio.AioRpcError):
        await stub.ListOrders(NONE)
        return True
    return False


async def test_one_stream_too_many_of_all_is_refused_and_unary_calls_go_on(opened):
    bounds = CallSettings(max_streams=1)
    async with opened(bounds) as ports, channel(ports) as client:
        stub: Any = OrderServiceStub(client)
        await stub.WatchOrders(WATCH).read()
        error = await refused(stub.WatchOrders(WATCH).read())
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ids(error.trailing_metadata())
        assert (await stub.ListOrders(NONE)).orders == []


async def streams_of_one(bounds: CallSettings, opened: Any, first: str, second: str) -> str:
    """Open a stream over one transport, and another over the other; return what it hears."""
    async with opened(bounds) as ports, channel(ports) as client, httpx2.AsyncClient() as http:
        stub: Any = OrderServiceStub(client)
        url = f"http://127.0.0.1:{ports.http}/v1/orders:watch"
        watches = {
            "grpc": lambda: grpc_watch(stub),
            "http": lambda: http_watch(http, url),
        }
        async with watches[first]() as one, watches[second]() as another:
            assert one == "OK"
            return another


@asynccontextmanager
async def grpc_watch(stub: Any) -> AsyncIterator[str]:
    watch = stub.WatchOrders(WATCH)
    try:
        await watch.read()
        yield "OK"
    except grpc.aio.AioRpcError as error:
        yield f"{error.code().name} {error.details()}"
    finally:
        watch.cancel()


@asynccontextmanager
async def http_watch(http: httpx2.AsyncClient, url: str) -> AsyncIterator[str]:
    async with http.stream("GET", url) as response:
        if response.status_code == httpx2.codes.OK:
            yield "OK"
        else:
            problem = json.loads(await response.aread())
            yield f"{problem['code']} {problem['detail']}"


@pytest.mark.parametrize("first", ["grpc", "http"])
@pytest.mark.parametrize("second", ["grpc", "http"])
async def test_one_stream_too_many_of_one_client_is_refused_on_both_transports(
    opened, first: str, second: str
):
    heard = await streams_of_one(CallSettings(max_streams_per_client=1), opened, first, second)
    assert heard == "RESOURCE_EXHAUSTED one client may have 1 open streams, try again"


def test_each_client_has_its_own_streams():
    gate = Gate(CallSettings(max_streams_per_client=1))
    calls = [Call("grpc", "", "") for _ in range(3)]
    for call, peer in zip(calls, ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.1:2"], strict=True):
        call.peer = peer
    for call in calls[:2]:
        gate.admit_stream(call)
    with pytest.raises(OverloadedError):
        gate.admit_stream(calls[2])
    gate.leave(calls[2])  # was not let in, and takes no place away
    gate.leave(calls[0])
    gate.admit_stream(calls[2])
    with pytest.raises(OverloadedError):
        gate.admit_stream(calls[0])


class Yielding(OrderServiceServicer):
    async def WatchOrders(
        self, request: pb.WatchOrdersRequest, context: Any
    ) -> AsyncIterator[pb.WatchOrdersResponse]:
        while True:
            yield pb.WatchOrdersResponse(resume_token=LONG)


class Spanning(OrderServiceServicer):
    async def WatchOrders(
        self, request: pb.WatchOrdersRequest, context: Any
    ) -> AsyncIterator[pb.WatchOrdersResponse]:
        with span("watch"):
            while True:
                yield pb.WatchOrdersResponse(resume_token=LONG)


class Writing(OrderServiceServicer):
    async def WatchOrders(self, request: pb.WatchOrdersRequest, context: Any) -> None:
        while True:
            await context.write(pb.WatchOrdersResponse(resume_token=LONG))


@pytest.mark.parametrize("servicer", [Yielding, Spanning, Writing])
async def test_who_leaves_while_an_answer_waits_to_be_read_is_no_error(
    serving, settings: Settings, calls: list[Any], caplog: pytest.LogCaptureFixture, servicer: Any
):
    async def flooding(service: Service, settings: Settings) -> None:
        service.rpc.add(add_OrderServiceServicer_to_server, servicer())

    async with serving(settings, flooding) as ports, channel(ports) as client:
        watch: Any = OrderServiceStub(client).WatchOrders(WATCH)
        await watch.read()
        await asyncio.sleep(0.2)  # until there is no room for more
        watch.cancel()
    gc.collect()  # for what asyncio says of a task that nobody has asked
    assert [call.code for call in calls] == ["CANCELLED"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_an_old_connection_is_left_and_its_stream_goes_on_for_the_grace(opened):
    limits = {"connection_age": "200ms", "connection_age_grace": "4s"}
    async with opened(limits=limits) as ports, channel(ports) as client:
        stub: Any = OrderServiceStub(client)
        watch = stub.WatchOrders(WATCH)
        await watch.read()
        await asyncio.sleep(0.6)  # older than its age, which grpc varies by a tenth
        assert not watch.done()
        await stub.CreateOrder(pb.CreateOrderRequest(sku="tea", quantity=1))  # a new connection
        assert (await watch.read()).order.sku == "tea"
        error = await refused(watch.read())
        assert error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


async def test_nobody_is_let_in_before_there_is_a_server(opened, monkeypatch: pytest.MonkeyPatch):
    listening: list[int] = []

    class Watched(socket.socket):
        def listen(self, *backlog: int) -> None:
            super().listen(*backlog)
            listening.append(self.getsockname()[1])

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(socket, "socket", Watched)
    async with opened(port=port) as ports:
        assert ports.grpc == port
        assert {ports.http, ports.management} <= set(listening)
        assert port not in listening  # but for grpc's own, in C


async def test_an_idle_connection_is_closed(opened):
    async with opened(limits={"idle_time": "200ms"}) as ports, channel(ports) as client:
        await OrderServiceStub(client).ListOrders(NONE)
        async with asyncio.timeout(PATIENCE_S):
            await client.wait_for_state_change(grpc.ChannelConnectivity.READY)


@pytest.mark.parametrize(("allowed", "is_sent_away"), [("1h", True), ("10ms", False)])
async def test_who_pings_too_often_is_sent_away(opened, allowed: str, is_sent_away: bool):
    keepalive = {"min_client_interval": allowed}
    async with opened(keepalive=keepalive) as ports, H2Wire.open(ports.grpc) as wire:
        wire.begin()
        leaving = asyncio.create_task(wire.until_goaway())
        await ping(wire)
        await asyncio.wait([leaving], timeout=0.5)
        leaving.cancel()
    assert (wire.goaway is not None and wire.goaway.error_code == CALM) is is_sent_away


async def ping(wire: H2Wire) -> None:
    for _ in range(10):
        wire.send(PingFrame(0, b"whatever").serialize())
        await asyncio.sleep(0.05)


def test_clients_ping_no_more_often_than_servers_allow():
    assert ClientKeepalive().time >= GrpcKeepalive().min_client_interval
    with pytest.raises(ValidationError):
        ClientKeepalive(time=GrpcKeepalive().min_client_interval / 2)


def test_grpc_knows_the_name_of_every_option():
    chosen = options(GrpcSettings(compression="gzip"))
    named = ClientTls(server_name="a")
    chosen += channel_options(ClientSettings(target="a:1", compression="gzip", tls=named))
    library = Path(cygrpc.__file__).read_bytes()
    assert [name for name, _ in chosen if name.encode() not in library] == []


@pytest.mark.parametrize("is_on", [True, False])
async def test_services_are_described_only_if_the_settings_say_so(opened, is_on: bool):
    asked = iter([ServerReflectionRequest(list_services="")])
    async with opened(reflection=is_on) as ports, channel(ports) as client:
        stub: Any = ServerReflectionStub(client)
        answer = stub.ServerReflectionInfo(asked).read()
        if is_on:
            services = (await answer).list_services_response.service
            assert pb.DESCRIPTOR.package in str(services)
        else:
            assert (await refused(answer)).code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(("environment", "is_on"), [("development", True), ("production", False)])
def test_the_settings_say_so_in_development_only(environment: str, is_on: bool):
    sources = Sources(PACKAGE, CONFIG, environment, variables={})
    assert load(Settings, sources).settings.grpc.reflection is is_on
