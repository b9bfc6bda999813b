"""The edge of gRPC: wraps each method once, when it is added, around its four kinds."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple, TypeAlias

import grpc

from ..calls.call import current
from ..errors import InvalidArgumentError
from .conversation import Context, Conversation, RpcParts

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Decode = Callable[[Any], Any]
Encode = Callable[[Any], bytes]

MOMENT_S = 0.005  # ten times what grpc takes, seldom more, between two of its events


class Method(NamedTuple):
    """A method as its servicer wrote it; `name` is `package.Service/Method`."""

    name: str
    behaviour: Callable[[Any, Context], Any]
    decode: Decode
    encode: Encode


def wrapped(name: str, handler: Handler, parts: RpcParts) -> Handler:
    """Return `handler` observed and bounded.

    A single message is decoded and encoded here, so that bytes that are no message are the
    caller's mistake; the messages of a stream by grpc, whose iterator and context hand them over.
    """
    streams = (handler.request_streaming, handler.response_streaming)
    kind = "_".join("stream" if streaming else "unary" for streaming in streams)
    decode, encode = _counted(handler.request_deserializer, handler.response_serializer)
    reads, writes = handler.request_streaming, handler.response_streaming
    method = Method(name, getattr(handler, kind), _unbroken if reads else decode, encode)
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    rewrapped: Handler = make(
        _answering(method, parts, is_stream=any(streams), writes=writes),
        decode if reads else None,
        encode if writes else None,
    )
    return rewrapped


def _answering(
    method: Method, parts: RpcParts, *, is_stream: bool, writes: bool
) -> Callable[[Any, Context], Any]:
    name, behaviour, decode, encode = method

    async def answer_once(request: Any, context: Context) -> bytes:
        conversation = Conversation(parts, name, context, is_stream)
        async with conversation:
            return encode(await behaviour(decode(request), context))

    async def answer_often(request: Any, context: Context) -> AsyncIterator[Any]:
        async with Conversation(parts, name, context, is_stream):
            async for reply in behaviour(decode(request), context):
                yield reply

    async def answer_by_writing(request: Any, context: Context) -> None:
        async with Conversation(parts, name, context, is_stream):
            await behaviour(decode(request), context)

    if not writes:
        return answer_once
    return answer_by_writing if inspect.iscoroutinefunction(behaviour) else answer_often


async def _unbroken(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yield the requests; those that the caller has broken off must not look complete.

    grpc ends them in the same way, also when the deadline passes, and cancels a moment later.
    """
    async for request in requests:
        yield request
    await asyncio.sleep(MOMENT_S)


def _counted(decode: Decode | None, encode: Encode | None) -> tuple[Decode, Encode]:
    def decoded(received: bytes) -> Any:
        if call := current.get():
            call.received_bytes += len(received)
        try:
            return decode(received) if decode else received
        except Exception as error:  # protobuf's DecodeError, or what another format raises
            raise InvalidArgumentError("the bytes are no message of this method") from error

    def encoded(reply: Any) -> bytes:
        sent = encode(reply) if encode else reply
        if call := current.get():
            call.sent_bytes += len(sent)
        return sent

    return decoded, encoded
