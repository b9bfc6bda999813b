"""Runs methods that are written with a plain `def` in threads, as grpc.aio does."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextvars import copy_context
from functools import partial
from threading import Lock, get_ident
from typing import Any

from loguru import logger

from ..errors import StartupError
from .server_call import Context, Handler, kind_of

AWAITED = frozenset({"abort", "abort_with_status", "read", "send_initial_metadata", "write"})
END = object()


def with_threads(name: str, handler: Any, pool: Executor) -> Handler:
    """Return `handler`; if its method is not asynchronous, one that runs it in `pool`.

    Raises StartupError for a method whose calls could never be answered.
    """
    kind = kind_of(handler)
    behaviour = getattr(handler, kind)
    yields = inspect.isgeneratorfunction(behaviour) or inspect.isasyncgenfunction(behaviour)
    if yields and not handler.response_streaming:
        raise StartupError(f"{name} has one answer, which it has to return instead of yield")
    if inspect.iscoroutinefunction(behaviour) or inspect.isasyncgenfunction(behaviour):
        same: Handler = handler
        return same
    replaced: Handler = handler._replace(**{kind: _asynchronous(handler, behaviour, pool)})
    return replaced


def _asynchronous(handler: Handler, behaviour: Callable[..., Any], pool: Executor) -> Any:
    async def answer_once(request: Any, context: Context) -> Any:
        thread = _Thread(pool)
        try:
            return await thread.run(behaviour, *arguments(thread, request, context))
        finally:
            thread.end()

    async def answer_often(request: Any, context: Context) -> AsyncIterator[Any]:
        thread = _Thread(pool)
        try:
            replies = await thread.run(behaviour, *arguments(thread, request, context))
            async for reply in thread.steps(replies):
                yield reply
        finally:
            thread.end()

    def arguments(thread: _Thread, request: Any, context: Context) -> tuple[Any, Any]:
        requests = _Requests(thread, request) if handler.request_streaming else request
        return requests, _ThreadContext(thread, context)

    return answer_often if handler.response_streaming else answer_once


class _Thread:
    """Where one call runs: in any thread of the pool, always with the call's context variables.

    A thread cannot be ended from outside. When the call has ended, whatever it waits for here
    raises CancelledError, a generator is closed after its step, and what has not begun never does.
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._loop, self._loop_thread = asyncio.get_running_loop(), get_ident()
        self._variables = copy_context()
        self._lock, self.has_ended = Lock(), False
        self._step: Future[Any] | None = None
        self._awaited: Future[Any] | None = None
        self._close: Callable[[], object] | None = None
        self.callbacks: list[Callable[[], object]] = []

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what `function` does, or what comes of the coroutine that it returns."""
        work = partial(self._variables.run, function, *arguments)
        self._step = self._pool.submit(_without_stop_iteration, work)
        result = await asyncio.wrap_future(self._step)
        return await result if inspect.isawaitable(result) else result

    async def steps(self, replies: Any) -> AsyncIterator[Any]:
        """Yield all replies; None has none, as where the method has written them itself."""
        if hasattr(replies, "__aiter__"):
            async for reply in replies:
                yield reply
        elif replies is not None:
            iterator = iter(replies)
            self._close = getattr(iterator, "close", None)
            while (reply := await self.run(next, iterator, END)) is not END:
                yield reply

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return what comes of it; called in the thread."""
        with self._lock:
            if self.has_ended:
                coroutine.close()
                raise CancelledError
            self._awaited = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return self._awaited.result()

    def end(self) -> None:
        """Let nothing of the call go on."""
        with self._lock:
            self.has_ended = True
            if self._awaited is not None:
                self._awaited.cancel()
        if self._step is not None and (self._close or self.callbacks):
            self._step.add_done_callback(self._clean_up)

    def is_elsewhere(self) -> bool:
        """Tell whether this is not the thread of the loop."""
        return get_ident() != self._loop_thread

    def _clean_up(self, _: object) -> None:
        functions = [self._close, *self.callbacks] if self._close else self.callbacks
        run = self._variables.run
        try:
            self._pool.submit(run, _call_all, functions)
        except RuntimeError:  # the server has stopped meanwhile
            run(_call_all, functions)


def _call_all(functions: Iterable[Callable[[], object]]) -> None:
    for function in functions:
        _logging(function)


def _logging(function: Callable[[], object]) -> None:
    try:
        function()
    except Exception:  # the call has its answer already
        logger.exception("{} failed after its call", function)


def _without_stop_iteration(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except StopIteration as error:  # no future takes it: the call would wait for ever
        raise RuntimeError("the method raised StopIteration") from error


class _Requests(Iterator[Any]):
    """The requests of a stream, for a loop in a thread, or for one that awaits them."""

    def __init__(self, thread: _Thread, requests: AsyncIterator[Any]) -> None:
        self._thread, self._requests = thread, requests

    def __next__(self) -> Any:
        if (request := self._thread.wait(self._read())) is END:
            raise StopIteration
        return request

    async def _read(self) -> Any:
        return await anext(self._requests, END)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._requests


class _ThreadContext:
    """grpc.ServicerContext in a thread; on the loop it is that of grpc.aio."""

    def __init__(self, thread: _Thread, context: Context) -> None:
        self._thread, self._context = thread, context

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._context, name)
        return partial(self._call, value) if name in AWAITED else value

    def _call(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        coroutine = method(*arguments, **named)
        return self._thread.wait(coroutine) if self._thread.is_elsewhere() else coroutine

    def is_active(self) -> bool:
        """Tell whether somebody still waits for the answer."""
        return not self._thread.has_ended

    def add_callback(self, callback: Callable[[], object]) -> bool:
        """Call `callback` when the call has ended; False if it has."""
        self._thread.callbacks.append(callback)
        return self.is_active()
