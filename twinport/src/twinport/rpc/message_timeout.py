"""The time limit for the first message of a call, which grpc awaits as long as the client likes."""

import asyncio
import inspect
from asyncio import current_task
from collections.abc import AsyncIterator, Mapping
from time import monotonic
from typing import Any

import grpc

from .server_call import Context, Handler, Task, call_details
from .settings import GrpcLimits

MAX_UNCUTTABLE = 20  # calls that may wait, at 15 KB each, and cannot be cut
LOOKS = 4  # within the time that a message has
ANSWER, ANSWERS = grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
TOO_LATE = grpc.StatusCode.DEADLINE_EXCEEDED, "the message of the call did not come in time"
TOO_MANY = grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls wait for their message, try again"
NO_MESSAGE = grpc.StatusCode.INVALID_ARGUMENT, "the call has no message"
EOF = grpc.aio.EOF

Refusal = tuple[grpc.StatusCode, str]


class MessageTimeout(grpc.GenericRpcHandler):
    """Gives each call its handler; while many calls wait for their message, one that can be cut.

    Such a one takes requests in a stream, as far as grpc knows, and reads the only one itself. It
    costs a tenth of a call, so it is for those who let more than a few wait.
    """

    def __init__(
        self,
        limits: GrpcLimits,
        handlers: Mapping[str, Handler],
        unknown: Handler,
        uncuttable: dict[grpc.HandlerCallDetails, Task],
    ) -> None:
        self._longest_s = limits.message_time.total_seconds()
        self._most = limits.waiting
        self._waiting: dict[Task, float] = {}  # the one that waits longest is the first
        self._cut_as: dict[Task, Refusal] = {}
        self._uncuttable = uncuttable  # those that wait, until a ServerCall takes them out
        self._ended: dict[grpc.HandlerCallDetails, float] = {}  # of these, without their message
        self._timer: asyncio.TimerHandle | None = None
        self._unknown = unknown  # observed, too
        self._streams = {name: each for name, each in handlers.items() if each.request_streaming}
        single = {name: each for name, each in handlers.items() if not each.request_streaming}
        self._plain = {name: self._tracked(handler) for name, handler in single.items()}
        self._bounded = {name: self._cuttable(handler) for name, handler in single.items()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """Return the handler of the call that this task will answer; asked by grpc for each."""
        about = handler_call_details
        call_details.set(about)
        plain = self._plain.get(about.method)
        if plain is None:
            return self._streams.get(about.method, self._unknown)
        if len(self._uncuttable) < MAX_UNCUTTABLE or self._forget_ended():
            self._uncuttable[about] = current_task()
            return plain
        return self._bounded[about.method]

    def _forget_ended(self) -> bool:
        """Forget those that have ended a while ago, and tell whether there is room.

        grpc keeps a call that has ended without its message, and answers nothing, for as long as
        its client likes: one that makes many of them hears so from those that can be cut.
        """
        now = monotonic()
        for about, task in self._uncuttable.items():
            if task is None or task.done():
                self._ended.setdefault(about, now)
        old = [about for about, since in self._ended.items() if since <= now - self._longest_s]
        for about in old:
            del self._ended[about]
            self._uncuttable.pop(about, None)
        return len(self._uncuttable) < MAX_UNCUTTABLE

    def _tracked(self, handler: Any) -> Handler:
        """Note the message of a call that has no ServerCall, which decodes by itself."""
        decode = handler.request_deserializer

        def arrived(message: bytes) -> Any:
            self._uncuttable.pop(call_details.get(), None)
            return decode(message)

        tracked: Handler = handler._replace(request_deserializer=arrived) if decode else handler
        return tracked

    def _cuttable(self, handler: Handler) -> Handler:
        behaviour: Any = handler.unary_stream or handler.unary_unary

        async def answer_once(_: object, context: Context) -> Any:
            return await behaviour(await self._message(context), context)

        async def answer_often(_: object, context: Context) -> AsyncIterator[Any]:
            async for reply in behaviour(await self._message(context), context):
                yield reply

        writes = handler.response_streaming
        often = writes and not inspect.iscoroutinefunction(behaviour)
        make: Any = ANSWERS if writes else ANSWER
        codec = handler.request_deserializer, handler.response_serializer
        cuttable: Handler = make(answer_often if often else answer_once, *codec)
        return cuttable

    async def _message(self, context: Context) -> Any:
        since, task = self._waiting, current_task()
        since[task] = monotonic()
        if self._timer is None or len(since) > self._most:
            self._watch()
        try:
            message = await context.read()
        except asyncio.CancelledError:
            await self._end(task, context)
            raise
        del since[task]
        if message is EOF:
            await context.abort(*NO_MESSAGE)
        return message

    async def _end(self, task: Task, context: Context) -> None:
        """Answer a call that has been cut, unless its client has gone as well."""
        self._waiting.pop(task, None)
        refusal = self._cut_as.pop(task, None)
        if refusal and task is not None and not task.uncancel():
            await context.abort(*refusal)

    def _watch(self) -> None:
        if len(self._waiting) > self._most:
            self._cut(next(iter(self._waiting)), TOO_MANY)
        if self._timer is None:
            again = self._longest_s / LOOKS
            self._timer = asyncio.get_running_loop().call_later(again, self._cut_overdue)

    def _cut(self, task: Task, refusal: Refusal) -> None:
        del self._waiting[task]
        if task is not None:
            self._cut_as[task] = refusal
            task.cancel()

    def _cut_overdue(self) -> None:
        self._timer = None
        last = monotonic() - self._longest_s
        for task in [task for task, since in self._waiting.items() if since <= last]:
            self._cut(task, TOO_LATE)
        if self._waiting:
            self._watch()
