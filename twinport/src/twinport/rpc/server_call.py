"""One gRPC call on the server, of any of the four kinds, from its first byte to its status."""

import asyncio
import inspect
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple, Protocol, TypeAlias
from urllib.parse import unquote

import grpc

from ..calls import (
    REQUEST_ID,
    TRACE_ID,
    Call,
    Edge,
    current,
    expired,
    expiry,
    is_cut,
    joined,
    note_failure,
)
from ..errors import (
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    ServiceError,
    UnimplementedError,
)
from ..faults import BINARY_STATUS, details, public, without_secrets

CLIENT_GONE = grpc.aio.InternalError  # what sending raises then, if it is not cancelled before
LOGGER = logging.getLogger("grpc._cython.cygrpc")

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # generic for type checkers only

OK = "OK"
NAMES = {status.value[0]: status.name for status in grpc.StatusCode}

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Task: TypeAlias = "asyncio.Task[Any] | None"
Decode = Callable[[Any], Any]
Encode = Callable[[Any], bytes]

AHEAD_S = 0.05  # a caller counts from before it sends the call, so its clock is ahead of ours
MOMENT_S = 0.005  # ten times what grpc takes, seldom more, between two of its events


def log_disconnects_as_debug() -> None:
    """Log at DEBUG what grpc logs as an error, with its stack, of what any client can cause."""
    LOGGER.addFilter(_as_debug)  # twice is once


def _as_debug(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error or record.msg, CLIENT_GONE | UnicodeDecodeError):
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        record.exc_info = None
    return True


class RpcGuard(Protocol):
    """Says who may call."""

    async def admit(self, call: Call, context: Context) -> None:
        """Let a call in; raises ServiceError."""

    async def admit_reader(self, context: Context) -> float:
        """Let in who wants to read what the services are, or abort.

        Return until when, in seconds since 1970.
        """


# What grpc knows of a call when it looks for its method, in the task that will answer it.
call_details: ContextVar[grpc.HandlerCallDetails] = ContextVar("call_details")


@dataclass(frozen=True, slots=True)
class RpcParts:
    """What every gRPC call needs; `span` opens the span of a sampled call, `domain` names us.

    `waiting` are the tasks of calls whose message is not there.
    """

    edge: Edge
    span: Callable[[Call], AbstractContextManager[object]]
    domain: str
    guard: RpcGuard | None = None
    waiting: dict[grpc.HandlerCallDetails, Task] = field(default_factory=dict)


class ServerCall:
    """Opens a call on the way in; on the way out gives it its status and tells the observers.

    The task that it is made in is cancelled when a unary call has had its time, and a stream when
    what its caller is known by expires. A stream is answered within `async with`; a unary call,
    which costs more by the two coroutines of it than by all that they do, calls `begin` and `end`.
    """

    def __init__(
        self,
        parts: RpcParts,
        method: str,
        context: Context,
        is_stream: bool,
    ) -> None:
        self._parts, self._context, self._is_stream = parts, context, is_stream
        about = call_details.get()
        metadata = _by_name(about.invocation_metadata)
        self.call = call = parts.edge.open("grpc", metadata)
        call.method = method
        call.peer = _address(context.peer())
        call.user_agent = metadata.get("user-agent")
        self._span: AbstractContextManager[object] | None = None
        self._task = parts.waiting.pop(about, None) or asyncio.current_task()
        self._timed_out = False

    async def __aenter__(self) -> None:
        try:
            self.begin()
            await self.admit()
        except BaseException as error:
            await self.refuse(self.end(error))
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.refuse(self.end(error))

    def begin(self) -> None:
        """Make the call the current one, with its deadline, and let it in; raises ServiceError."""
        call, edge, context = self.call, self._parts.edge, self._context
        current.set(call)
        is_one = call.request_id == call.trace_id  # sent once it costs half
        context.set_trailing_metadata(((TRACE_ID, call.trace_id),) if is_one else self._ids())
        left = context.time_remaining()
        if not self._is_stream:
            left = edge.timeout if left is None else min(left, edge.timeout)
        if left is not None:
            call.deadline = asyncio.get_running_loop().time() + left
        if call.sampled:
            self._span = self._parts.span(call)
            self._span.__enter__()
        if self._is_stream:
            edge.gate.admit_stream(call)
        else:
            edge.gate.admit(call)
            edge.alarm.set(self, call.deadline)

    async def admit(self) -> None:
        """Let in who may call; raises ServiceError."""
        guard = self._parts.guard
        if guard is not None:
            await guard.admit(self.call, self._context)
            self._end_with_credentials()

    def _end_with_credentials(self) -> None:
        if self._is_stream and (until := expiry(self.call)) < math.inf:
            self._parts.edge.alarm.set(self, until)

    def wake(self) -> None:
        """End the call, as it is late."""
        self._timed_out = True
        if self._task is not None:
            self._task.cancel()

    def end(self, error: BaseException | None = None) -> ServiceError | None:
        """Close the call; return what it has to be refused with, None where there is nothing."""
        edge = self._parts.edge
        edge.alarm.unset(self)
        if error is None and not self._timed_out:
            refusal = None
            if code := self._context.code():
                self.call.code = _status_name(code)
        else:
            refusal = self._outcome(error)
        try:
            if self._span is not None:
                self._span.__exit__(None, None, None)
        finally:
            edge.close(self.call)
            if self._is_stream:  # a unary call is the last thing that its task does
                current.set(None)  # not reset: whom nobody reads on, another task closes
        return refusal

    def _outcome(self, error: BaseException | None) -> ServiceError | None:
        """Name the end of the call; return the error to answer, None where there is none."""
        call = self.call
        if self._was_cancelled_by_us(error):
            error = expired() if self._is_stream else DeadlineExceededError("not answered in time")
        if error is None or isinstance(error, grpc.aio.AbortError):
            call.code = _status_name(self._context.code())
            return None
        if is_cut(error) or isinstance(error, CLIENT_GONE):
            call.code = "DEADLINE_EXCEEDED" if self._is_late() else "CANCELLED"
            return None
        answer = public(error)
        if self._is_left_out(error):
            answer = UnimplementedError("no such method")
        call.code = answer.code
        if isinstance(answer, InternalError):
            note_failure(call, error)
        return answer

    def _is_left_out(self, error: BaseException) -> bool:
        """Tell whether generated code has answered for a method that the servicer does not have."""
        is_unimplemented = self._context.code() is grpc.StatusCode.UNIMPLEMENTED
        return is_unimplemented and isinstance(error, NotImplementedError)

    def _was_cancelled_by_us(self, error: BaseException | None) -> bool:
        """Tell so, and take it back; whom another task closes, nobody has cancelled."""
        if not self._timed_out or self._task is None or isinstance(error, GeneratorExit):
            return False
        return self._task.uncancel() == 0

    def _is_late(self) -> bool:
        until = self.call.deadline
        return until is not None and asyncio.get_running_loop().time() >= until - AHEAD_S

    async def refuse(self, error: ServiceError | None) -> None:
        """Answer with `error`, if there is one."""
        if error is None:
            return
        status = grpc.StatusCode[error.code]
        status_details = details(error, self.call, self._parts.domain)
        detail, _ = without_secrets(error)
        await self._context.abort(status, detail, (*self._ids(), (BINARY_STATUS, status_details)))

    def _ids(self) -> tuple[tuple[str, str], ...]:
        return (TRACE_ID, self.call.trace_id), (REQUEST_ID, self.call.request_id)


def _by_name(metadata: Any) -> dict[str, Any]:
    by_name: dict[str, Any] = dict(metadata)
    if len(by_name) == len(metadata):
        return by_name
    return joined(((name, value) for name, value in metadata if isinstance(value, str)), ",")


@lru_cache(maxsize=1024)  # there are fewer connections than calls
def _address(peer: str) -> str:
    """Return host and port of what grpc calls a peer, such as ipv6:%5B::1%5D:50051."""
    return unquote(peer.partition(":")[2])


def _status_name(code: object) -> str:
    """Return the name of what grpc holds as a number, a StatusCode or, for OK, nothing."""
    if not code:
        return OK
    if isinstance(code, grpc.StatusCode):
        return code.name
    return NAMES.get(code, "UNKNOWN") if isinstance(code, int) else OK


class Method(NamedTuple):
    """A method as its servicer wrote it; `name` is `package.Service/Method`."""

    name: str
    behaviour: Callable[[Any, Context], Any]
    decode: Decode
    encode: Encode | None


def kind_of(handler: Handler) -> str:
    """Return the name of the field of `handler` that holds its method, such as unary_stream."""
    streams = (handler.request_streaming, handler.response_streaming)
    return "_".join("stream" if streaming else "unary" for streaming in streams)


def wrapped(name: str, handler: Handler, parts: RpcParts) -> Handler:
    """Return `handler` observed and bounded.

    A single message is decoded and encoded here, so that bytes that are no message are the
    caller's mistake; the messages of a stream by grpc, whose iterator and context hand them over.
    """
    kind = kind_of(handler)
    decode, encode = _counted(handler.request_deserializer), handler.response_serializer
    reads, writes = handler.request_streaming, handler.response_streaming
    method = Method(name, getattr(handler, kind), _unbroken if reads else decode, encode)
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    rewrapped: Handler = make(
        _answering(method, parts, is_stream=reads or writes, writes=writes),
        decode if reads else None,
        _counted_replies(encode) if writes else None,
    )
    return rewrapped


def _answering(
    method: Method, parts: RpcParts, *, is_stream: bool, writes: bool
) -> Callable[[Any, Context], Any]:
    if not writes:
        return _answering_once(method, parts, is_stream=is_stream)
    name, behaviour, decode, _ = method

    async def answer_often(request: Any, context: Context) -> AsyncIterator[Any]:
        async with ServerCall(parts, name, context, is_stream):
            async for reply in behaviour(decode(request), context):
                yield reply

    async def answer_by_writing(request: Any, context: Context) -> None:
        async with ServerCall(parts, name, context, is_stream):
            await behaviour(decode(request), context)

    return answer_by_writing if inspect.iscoroutinefunction(behaviour) else answer_often


def _answering_once(
    method: Method, parts: RpcParts, *, is_stream: bool
) -> Callable[[Any, Context], Any]:
    name, behaviour, decode, encode = method
    is_guarded = parts.guard is not None

    async def answer_once(request: Any, context: Context) -> bytes:
        server_call = ServerCall(parts, name, context, is_stream)
        try:
            server_call.begin()
            if is_guarded:
                await server_call.admit()
            reply = await behaviour(decode(request), context)
            answer = encode(reply) if encode else reply
            server_call.call.sent_bytes = len(answer)
        except BaseException as error:
            await server_call.refuse(server_call.end(error))
            raise
        if refusal := server_call.end():
            await server_call.refuse(refusal)
        return answer

    return answer_once


async def _unbroken(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield the requests; those that the caller has broken off must not look complete.

    grpc ends them in the same way, also when the deadline passes, and cancels a moment later.
    """
    async for request in requests:
        yield request
    await asyncio.sleep(MOMENT_S)


def _counted(decode: Decode | None) -> Decode:
    def decoded(received: bytes) -> Any:
        if call := current.get():
            call.received_bytes += len(received)
        try:
            return decode(received) if decode else received
        except Exception as error:  # protobuf's DecodeError, or what another format raises
            raise InvalidArgumentError("the bytes are no message of this method") from error

    return decoded


def _counted_replies(encode: Encode | None) -> Encode:
    def encoded(reply: Any) -> bytes:
        sent = encode(reply) if encode else reply
        if call := current.get():
            call.sent_bytes += len(sent)
        return sent

    return encoded
