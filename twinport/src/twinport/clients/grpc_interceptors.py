"""Client interceptors of gRPC: span, deadline, request id, observers and errors of each call.

Spans follow the conventions for RPC. They end with the exact status, also where the call is
cancelled, late or broken off; a call that is not traced costs no span, but tells the other service
so.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial, wraps
from importlib import import_module
from inspect import signature
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc.aio import ClientCallDetails, ClientInterceptor, Metadata
from opentelemetry import trace
from opentelemetry.propagate import inject
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from wrapt import register_post_import_hook

from ..calls.call import current
from ..traces.spans import replace_everywhere
from .outgoing_call import ClientCall, Outgoing
from .remote_errors import from_rpc


def rpc_spans(target: str, name: str = "") -> list[ClientInterceptor]:
    """Return an interceptor for each kind of method; they belong next to the wire, so last.

    `name` is that of the other service, if it is known.
    """
    host, _, port = target.rpartition("/")[2].rpartition(":")
    peer: dict[str, str | int] = {"server.address": host}
    if name:
        peer["service.peer.name"] = name
    if port.isdecimal():
        peer["server.port"] = int(port)
    return [
        kind(peer)
        for kind in (_SpanUnaryUnary, _SpanUnaryStream, _SpanStreamUnary, _SpanStreamStream)
    ]


class RpcSpans:
    """Traces the calls of one kind."""

    def __init__(self, peer: dict[str, str | int]) -> None:
        self._peer = peer
        self._tracer = trace.get_tracer("twinport.clients")

    async def _call(self, continuation: Any, details: Any, request: Any) -> Any:
        span = self._start(details)
        try:
            call = await continuation(_announced(details, span), request)
        except asyncio.CancelledError:
            _end(span, grpc.StatusCode.CANCELLED.name)
            raise
        call.add_done_callback(partial(_end_with, span))  # also when its consumer breaks off
        return call

    def _start(self, details: Any) -> Span:
        incoming = current.get()
        if incoming is not None and not incoming.sampled:
            return trace.INVALID_SPAN
        name = details.method.decode() if isinstance(details.method, bytes) else details.method
        method = name.lstrip("/")
        known = {"rpc.system.name": "grpc", "rpc.method": method, **self._peer}
        return self._tracer.start_span(method, kind=SpanKind.CLIENT, attributes=known)


def code_of(call: Any) -> str:
    """Return the status of a call that has ended, for which nothing has to be waited."""
    try:
        call.code().send(None)
    except StopIteration as known:
        return str(known.value.name)
    return grpc.StatusCode.UNKNOWN.name


def _end_with(span: Span, call: Any) -> None:
    _end(span, code_of(call))


def _end(span: Span, code: str) -> None:
    span.set_attribute("rpc.response.status_code", code)
    if code != grpc.StatusCode.OK.name:
        span.set_attribute("error.type", code)
        span.set_status(Status(StatusCode.ERROR, code))
    span.end()


def _announced(details: Any, span: Span) -> ClientCallDetails:
    """Return `details` with the headers by which the other service joins the trace."""
    headers: dict[str, str] = {}
    context = trace.set_span_in_context(span) if span.get_span_context().is_valid else None
    inject(headers, context)
    metadata = Metadata(*(details.metadata or ()), *headers.items())
    announced: ClientCallDetails = details._replace(metadata=metadata)
    return announced


class _SpanUnaryUnary(RpcSpans, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: ClientCallDetails, request: Any
    ) -> Any:
        return await self._call(continuation, client_call_details, request)


class _SpanUnaryStream(RpcSpans, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: ClientCallDetails, request: Any
    ) -> Any:
        return await self._call(continuation, client_call_details, request)


class _SpanStreamUnary(RpcSpans, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await self._call(continuation, client_call_details, request_iterator)


class _SpanStreamStream(RpcSpans, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await self._call(continuation, client_call_details, request_iterator)


Sent = Callable[[ClientCall, Any], Any]


def rpc_edges(outgoing: Outgoing) -> list[ClientInterceptor]:
    """Return an interceptor for each kind of method."""
    return [kind(outgoing) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]


class _Edge:
    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    def _open(self, details: ClientCallDetails, *, is_stream: bool) -> ClientCall:
        name: Any = details.method  # bytes, whatever the type says
        method = (name.decode() if isinstance(name, bytes) else name).lstrip("/")
        return self._outgoing.open("grpc", method, details.timeout, is_stream=is_stream)

    async def _answer(self, continuation: Any, details: Any, request: Any, sent: Sent) -> Any:
        call = self._open(details, is_stream=sent is _all_sent)
        with self._outgoing.observed(call), self._translated(call):
            answer = await continuation(self._bounded(details, call), sent(call, request))
            call.has_received(_size(await answer))
            return answer

    async def _answers(
        self, continuation: Any, details: Any, request: Any, sent: Sent
    ) -> AsyncIterator[Any]:
        call = self._open(details, is_stream=True)
        with ExitStack() as ending:
            ending.enter_context(self._outgoing.observed(call))
            answers = await continuation(self._bounded(details, call), sent(call, request))
            unread = ending.pop_all()
        answers.add_done_callback(partial(_end_unread, call, unread))
        return self._read(call, answers, unread)

    async def _read(
        self, call: ClientCall, answers: AsyncIterable[Any], unread: ExitStack
    ) -> AsyncIterator[Any]:
        with unread.pop_all(), self._translated(call):
            async for answer in answers:
                call.has_received(_size(answer))
                yield answer

    def _bounded(self, details: Any, call: ClientCall) -> ClientCallDetails:
        said = dict(details.metadata or ())  # by the code that calls; it goes first
        told = {key: value for key, value in self._outgoing.headers().items() if key not in said}
        metadata = Metadata(*(details.metadata or ()), *told.items())
        bounded: ClientCallDetails = details._replace(timeout=call.timeout_s, metadata=metadata)
        return bounded

    @contextmanager
    def _translated(self, call: ClientCall) -> Iterator[None]:
        try:
            yield
        except grpc.aio.AioRpcError as error:
            call.code = error.code().name
            raise from_rpc(error, self._outgoing.name) from error


def _end_unread(call: ClientCall, unread: ExitStack, answers: Any) -> None:
    """Tell of a stream that has ended before anybody read it; else who reads it tells."""
    call.code = code_of(answers)
    unread.close()


def _sent(call: ClientCall, request: Any) -> Any:
    """Count a request, and return it."""
    call.has_sent(_size(request))
    return request


async def _all_sent(call: ClientCall, requests: Any) -> AsyncIterator[Any]:
    """Count each request as it is taken; they may come from an iterable of either kind."""
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield _sent(call, request)
        return
    for request in requests:
        yield _sent(call, request)


def _size(message: Any) -> int:
    """Return the bytes of a message of protobuf, or of one that is bytes; of others, none."""
    if isinstance(message, Message):
        return message.ByteSize()
    return len(message) if isinstance(message, bytes) else 0


class _UnaryUnary(_Edge, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: ClientCallDetails, request: Any
    ) -> Any:
        return await self._answer(continuation, client_call_details, request, _sent)


class _UnaryStream(_Edge, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: ClientCallDetails, request: Any
    ) -> Any:
        return await self._answers(continuation, client_call_details, request, _sent)


class _StreamUnary(_Edge, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await self._answer(continuation, client_call_details, request_iterator, _all_sent)


class _StreamStream(_Edge, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await self._answers(continuation, client_call_details, request_iterator, _all_sent)


HTTP_LIBRARIES = ("httpx", "httpx2")
Make = Callable[..., grpc.aio.Channel]


@contextmanager
def bare_clients_traced() -> Iterator[None]:
    """Trace the channels of grpc.aio that are opened until the end, and all clients of httpx(2)."""
    with ExitStack() as undo:
        makers: list[Make] = [grpc.aio.insecure_channel, grpc.aio.secure_channel]
        replace_everywhere({make: _traced(make) for make in makers}, undo)
        for library in HTTP_LIBRARIES:
            register_post_import_hook(_trace_http, library)
        yield


def _trace_http(_: object) -> None:
    """Trace the clients of both libraries, as soon as one is imported.

    OpenTelemetry imports both. They are here before it, as a hook that runs while it is imported
    would find half of it.
    """
    for library in HTTP_LIBRARIES:
        with suppress(ImportError):
            import_module(library)
    import_module("..traces.httpx_spans", __package__).instrument_all()


def _traced(make: Make) -> Make:
    parameters = signature(make)

    @wraps(make)
    def opened(*args: object, **kwargs: object) -> grpc.aio.Channel:
        chosen = parameters.bind(*args, **kwargs)
        given = chosen.arguments.get("interceptors") or ()
        if not any(isinstance(each, RpcSpans) for each in given):
            chosen.arguments["interceptors"] = [*given, *rpc_spans(chosen.arguments["target"])]
        return make(*chosen.args, **chosen.kwargs)

    return opened
