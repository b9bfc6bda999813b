"""Client spans of all four kinds of gRPC methods, by the conventions for RPC.

They end with the exact status, also where the call is cancelled, late or broken off; a call that
is not traced costs no span, but tells the other service so.
"""

import asyncio
from functools import partial
from typing import Any

import grpc
from grpc.aio import ClientCallDetails, ClientInterceptor, Metadata
from opentelemetry import trace
from opentelemetry.propagate import inject
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from ..calls.call import current


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
    return [kind(peer) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]


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


class _UnaryUnary(RpcSpans, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: ClientCallDetails, request: Any
    ) -> Any:
        return await self._call(continuation, client_call_details, request)


class _UnaryStream(RpcSpans, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: ClientCallDetails, request: Any
    ) -> Any:
        return await self._call(continuation, client_call_details, request)


class _StreamUnary(RpcSpans, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await self._call(continuation, client_call_details, request_iterator)


class _StreamStream(RpcSpans, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await self._call(continuation, client_call_details, request_iterator)
