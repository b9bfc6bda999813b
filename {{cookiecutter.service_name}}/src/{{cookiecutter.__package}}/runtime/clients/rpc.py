"""The edge of each gRPC call to another service: deadline, request id, observers, errors."""

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from grpc.aio import ClientCallDetails, ClientInterceptor, Metadata

from .call import ClientCall
from .outgoing import Outgoing
from .remote_errors import from_rpc


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

    async def _answer(self, continuation: Any, details: Any, request: Any, stream: bool) -> Any:
        call = self._open(details, is_stream=stream)
        with self._seen(call):
            sent = await continuation(self._bounded(details, call), request)
            await sent
            return sent

    async def _answers(self, continuation: Any, details: Any, request: Any) -> AsyncIterator[Any]:
        call = self._open(details, is_stream=True)
        answers = await continuation(self._bounded(details, call), request)
        return self._observed(call, answers)

    async def _observed(self, call: ClientCall, answers: AsyncIterable[Any]) -> AsyncIterator[Any]:
        with self._seen(call):
            async for answer in answers:
                yield answer

    def _bounded(self, details: Any, call: ClientCall) -> ClientCallDetails:
        said = dict(details.metadata or ())  # by the code that calls; it goes first
        told = {key: value for key, value in self._outgoing.headers().items() if key not in said}
        metadata = Metadata(*(details.metadata or ()), *told.items())
        bounded: ClientCallDetails = details._replace(timeout=call.timeout_s, metadata=metadata)
        return bounded

    @contextmanager
    def _seen(self, call: ClientCall) -> Iterator[None]:
        with self._outgoing.observed(call):
            try:
                yield
            except grpc.aio.AioRpcError as error:
                call.code = error.code().name
                raise from_rpc(error, self._outgoing.name) from error


class _UnaryUnary(_Edge, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: ClientCallDetails, request: Any
    ) -> Any:
        return await self._answer(continuation, client_call_details, request, False)


class _UnaryStream(_Edge, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: ClientCallDetails, request: Any
    ) -> Any:
        return await self._answers(continuation, client_call_details, request)


class _StreamUnary(_Edge, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await self._answer(continuation, client_call_details, request_iterator, True)


class _StreamStream(_Edge, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: ClientCallDetails, request_iterator: Any
    ) -> Any:
        return await self._answers(continuation, client_call_details, request_iterator)
