"""Client interceptors of gRPC: span, deadline, request id, observers and errors of each call.

Spans follow the conventions for RPC. They end with the exact status, also where the call is
cancelled, late or broken off; a call that is not traced costs no span, but tells the other service
so.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial, wraps
from importlib import import_module
from inspect import signature
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as Detail
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status as RichStatus
from grpc.aio import ClientCallDetails, ClientInterceptor, Metadata
from grpc_status import rpc_status
from opentelemetry import trace
from opentelemetry.propagate import inject
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from wrapt import register_post_import_hook

from ..calls import current
from ..errors import (
    ERRORS,
    FieldViolation,
    InternalError,
    OverloadedError,
    ResourceExhaustedError,
    ServiceError,
)
from ..traces.spans import replace_everywhere
from .kept_status import keep_status
from .outgoing_call import NEUTRAL, ClientCall, Outgoing, neutral

Sent = Callable[[ClientCall, Any], Any]


def client_interceptors(target: str, outgoing: Outgoing | None = None) -> list[ClientInterceptor]:
    """Return one for each kind of method; without `outgoing` they trace, and do nothing else."""
    host, _, port = target.rpartition("/")[2].rpartition(":")
    peer: dict[str, str | int] = {"server.address": host}
    if outgoing is not None:
        peer["service.peer.name"] = outgoing.name
    if port.isdecimal():
        peer["server.port"] = int(port)
    kinds = (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)
    return [kind(peer, outgoing) for kind in kinds]


class _Interceptor:
    """What the interceptors of all kinds of methods do; `peer` are attributes of each span."""

    def __init__(self, peer: dict[str, str | int], outgoing: Outgoing | None) -> None:
        self._peer, self._outgoing = peer, outgoing
        self._tracer = trace.get_tracer("twinport.clients")

    async def _answer(self, continuation: Any, details: Any, request: Any, sent: Sent) -> Any:
        """Make a call that has one answer."""
        outgoing = self._outgoing
        if outgoing is None:
            return await self._traced(continuation, details, request, {})
        call = _open(outgoing, details, is_stream=sent is _all_sent)
        with outgoing.observed(call), _translated(call):
            headers = _headers(outgoing, details)
            bounded = details._replace(timeout=call.timeout_s)
            answer = await self._traced(continuation, bounded, sent(call, request), headers)
            call.has_received(_size(await answer))
            return answer

    async def _answers(self, continuation: Any, details: Any, request: Any, sent: Sent) -> Any:
        """Make a call that has a stream of answers."""
        outgoing = self._outgoing
        if outgoing is None:
            return await self._traced(continuation, details, request, {})
        call = _open(outgoing, details, is_stream=True)
        with ExitStack() as ending:
            ending.enter_context(outgoing.observed(call))
            headers = _headers(outgoing, details)
            bounded = details._replace(timeout=call.timeout_s)
            answers = await self._traced(continuation, bounded, sent(call, request), headers)
            unread = ending.pop_all()
        answers.add_done_callback(partial(_end_unread, call, unread))
        return _read(call, answers, unread)

    async def _traced(
        self, continuation: Any, details: Any, request: Any, headers: dict[str, str]
    ) -> Any:
        """Make a call with `headers` and those by which the other service joins the trace."""
        span = self._start(details)
        has_context = span.get_span_context().is_valid
        inject(headers, trace.set_span_in_context(span) if has_context else None)
        metadata = Metadata(*(details.metadata or ()), *headers.items())
        try:
            call = await continuation(details._replace(metadata=metadata), request)
        except asyncio.CancelledError:
            _end(span, grpc.StatusCode.CANCELLED.name)
            raise
        keep_status(call)
        call.add_done_callback(partial(_end_with, span))  # also when its consumer breaks off
        return call

    def _start(self, details: ClientCallDetails) -> Span:
        incoming = current.get()
        if incoming is not None and not incoming.sampled:
            return trace.INVALID_SPAN
        method = _method(details)
        attributes = {"rpc.system.name": "grpc", "rpc.method": method, **self._peer}
        return self._tracer.start_span(method, kind=SpanKind.CLIENT, attributes=attributes)


def _method(details: ClientCallDetails) -> str:
    name: Any = details.method  # bytes, whatever the type says
    return (name.decode() if isinstance(name, bytes) else str(name)).lstrip("/")


def _open(outgoing: Outgoing, details: ClientCallDetails, *, is_stream: bool) -> ClientCall:
    return outgoing.open("grpc", _method(details), details.timeout, is_stream=is_stream)


def _headers(outgoing: Outgoing, details: ClientCallDetails) -> dict[str, str]:
    """Return the headers of the client, but for those that the code that calls sends itself."""
    headers = outgoing.headers()
    for name, _ in details.metadata or ():
        headers.pop(name, None)
    return headers


async def _read(
    call: ClientCall, answers: AsyncIterable[Any], unread: ExitStack
) -> AsyncIterator[Any]:
    with unread.pop_all(), _translated(call):
        async for answer in answers:
            call.has_received(_size(answer))
            yield answer


def _end_unread(call: ClientCall, unread: ExitStack, answers: Any) -> None:
    """Tell of a stream that has ended before anybody read it; else who reads it tells."""
    call.code = _code_of(answers)
    unread.close()


def _end_with(span: Span, call: Any) -> None:
    _end(span, _code_of(call))


def _end(span: Span, code: str) -> None:
    span.set_attribute("rpc.response.status_code", code)
    if code != grpc.StatusCode.OK.name:
        span.set_attribute("error.type", code)
        span.set_status(Status(StatusCode.ERROR, code))
    span.end()


def _code_of(call: Any) -> str:
    """Return the status of a call that has ended, for which nothing has to be waited."""
    try:
        call.code().send(None)
    except StopIteration as returned:
        return str(returned.value.name)
    return grpc.StatusCode.UNKNOWN.name


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


class _UnaryUnary(_Interceptor, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: ClientCallDetails, request: Any
    ) -> Any:
        return await self._answer(continuation, client_call_details, request, _sent)


class _UnaryStream(_Interceptor, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: ClientCallDetails, request: Any
    ) -> Any:
        return await self._answers(continuation, client_call_details, request, _sent)


class _StreamUnary(_Interceptor, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await self._answer(continuation, client_call_details, request_iterator, _all_sent)


class _StreamStream(_Interceptor, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await self._answers(continuation, client_call_details, request_iterator, _all_sent)


@contextmanager
def _translated(call: ClientCall) -> Iterator[None]:
    """Raise ServiceError for what grpc raises."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        call.code = error.code().name
        raise _service_error(error, call.client) from error


def _service_error(error: grpc.aio.AioRpcError, client: str) -> ServiceError:
    """Return the domain error that a failed call to `client` stands for (google.rpc.Status)."""
    kind = ERRORS.get(error.code().name, InternalError)
    status = _rich_status(error)
    if kind is InternalError or (status is None and kind in NEUTRAL):
        return neutral(kind, client)
    details = status.details if status else ()
    if kind is ResourceExhaustedError and _unpacked(details, RetryInfo()):
        kind = OverloadedError
    violations = BadRequest()
    _unpacked(details, violations)
    fields = [FieldViolation(each.field, each.description) for each in violations.field_violations]
    return kind(error.details() or "", fields=fields)


def _rich_status(error: grpc.aio.AioRpcError) -> RichStatus | None:
    call: Any = error  # it has all that is asked of a call, though not its type
    try:
        return rpc_status.from_call(call)
    except ValueError:  # the details contradict the status
        return None


def _unpacked(details: Sequence[Detail], message: BadRequest | RetryInfo) -> bool:
    """Tell whether a detail of the type of `message` is there, and fill it with that."""
    return any(detail.Unpack(message) for detail in details)


HTTP_LIBRARIES = ("httpx", "httpx2")
OpenChannel = Callable[..., grpc.aio.Channel]


@contextmanager
def bare_clients_traced() -> Iterator[None]:
    """Trace the channels of grpc.aio that are opened until the end, and all clients of httpx(2)."""
    with ExitStack() as undo:
        functions: list[OpenChannel] = [grpc.aio.insecure_channel, grpc.aio.secure_channel]
        replace_everywhere({each: _tracing(each) for each in functions}, undo)
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


def _tracing(open_channel: OpenChannel) -> OpenChannel:
    parameters = signature(open_channel)

    @wraps(open_channel)
    def opened(*args: object, **kwargs: object) -> grpc.aio.Channel:
        call = parameters.bind(*args, **kwargs)
        given = call.arguments.get("interceptors") or ()
        if not any(isinstance(each, _Interceptor) for each in given):
            ours = client_interceptors(call.arguments["target"])
            call.arguments["interceptors"] = [*given, *ours]
        return open_channel(*call.args, **call.kwargs)

    return opened
