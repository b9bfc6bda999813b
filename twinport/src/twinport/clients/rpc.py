"""The edge of each gRPC call to another service: deadline, request id, observers, errors."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc.aio import ClientCallDetails, ClientInterceptor, Metadata

from .call import ClientCall
from .outgoing import Outgoing
from .remote_errors import from_rpc
from .rpc_spans import code_of

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
