"""What a caller reads of an answer: in the same form over REST and gRPC, so that both compare."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Mapping
from typing import Any, NamedTuple

import grpc
import httpx2
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest
from grpc_status import rpc_status

from ..clients.kept_status import keep_status
from .duplex import Duplex

PROBLEM = "application/problem+json"
SUCCESS = 200
Content = dict[str, Any]


class Refusal(NamedTuple):
    """What an error tells its caller; `fields` are the wrong ones, each with what is wrong."""

    code: str
    detail: str
    fields: frozenset[tuple[str, str]]


class RefusedError(Exception):
    """The service has answered with an error."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class Event(NamedTuple):
    """A server-sent event."""

    id: str
    data: Any


def rest_answer(response: httpx2.Response) -> Any:
    """Return the body of a response that was read; raises RefusedError."""
    body: Any = response.json() if response.content else None
    if response.is_error:
        assert response.headers["content-type"] == PROBLEM
        assert body["status"] == response.status_code
        raise RefusedError(_problem(body))
    return body


async def rest_events(response: httpx2.Response) -> AsyncIterator[Event]:
    """Yield each server-sent event of a response as it comes; raises RefusedError."""
    if response.is_error:
        await response.aread()
        rest_answer(response)
    async for event in httpx2.EventSource(response, max_event_size=None):
        data = json.loads(event.data or "null")
        if event.event == "problem":
            raise RefusedError(_problem(data))
        yield Event(event.id, data)


async def rest_exchange(port: int, path: str, items: AsyncIterable[Any]) -> AsyncIterator[Any]:
    """Send each item as a line of JSON while the lines of the answer come; raises RefusedError."""
    async with Duplex.post(port, path) as duplex:
        sending = asyncio.create_task(_send_each(duplex, items))
        async for line in duplex.lines():
            yield _line(json.loads(line), duplex.status)
        await sending


async def rpc_answer(call: Awaitable[Message]) -> Content:
    """Return the fields of an answer, also those with default values; raises RefusedError."""
    keep_status(call)
    try:
        return _fields(await call)
    except grpc.aio.AioRpcError as error:
        raise RefusedError(_status(error)) from error


async def rpc_answers(call: AsyncIterable[Message]) -> AsyncIterator[Content]:
    """Yield the fields of each message of a stream; raises RefusedError."""
    keep_status(call)
    try:
        async for message in call:
            yield _fields(message)
    except grpc.aio.AioRpcError as error:
        raise RefusedError(_status(error)) from error


async def _send_each(duplex: Duplex, items: AsyncIterable[Any]) -> None:
    async for item in items:
        duplex.send(json.dumps(item).encode() + b"\n")
    duplex.send(b"", end=True)


def _line(content: Any, status: int) -> Any:
    """Return a line of an answer; raises RefusedError, also for the last one of a good answer."""
    ends_badly = isinstance(content, Mapping) and {"code", "status", "detail"} <= content.keys()
    if status != SUCCESS or ends_badly:
        raise RefusedError(_problem(content))
    return content


def _problem(body: Content) -> Refusal:
    fields = frozenset((wrong["field"], wrong["description"]) for wrong in body["errors"])
    return Refusal(body["code"], body["detail"], fields)


def _status(error: grpc.aio.AioRpcError) -> Refusal:
    wrong = BadRequest()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status else ():
        detail.Unpack(wrong)  # what is of another type leaves it alone
    fields = frozenset((field.field, field.description) for field in wrong.field_violations)
    return Refusal(error.code().name, error.details() or "", fields)


def _fields(message: Message) -> Content:
    """Return every field; a message that is not set is None."""
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields}


def _value(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is None:
        return value
    if field.is_repeated:
        return [_fields(each) for each in value]
    return _fields(value) if message.HasField(field.name) else None
