"""Generators and coroutines driven step by step, so that something can be done around each step."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import coroutine
from typing import Any, Protocol

from opentelemetry import context as otel
from opentelemetry.trace import Span, set_span_in_context

Around = Callable[[], AbstractContextManager[None]]


class Inside:
    """What is current within a generator: its span, and whatever it made current itself.

    A generator shares the context of whoever iterates it, who must not see its spans.
    """

    def __init__(self, span: Span) -> None:
        self._context = set_span_in_context(span)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Go inside, for one step."""
        outside = otel.get_current()
        otel.attach(self._context)  # detaching fails where a generator is closed by another task
        try:
            yield
        finally:
            self._context = otel.get_current()
            otel.attach(outside)


class CpuMeter:
    """Adds up the processor time of this thread, in nanoseconds, over all steps."""

    def __init__(self) -> None:
        self.total_ns = 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Measure one step."""
        before = time.thread_time_ns()
        try:
            yield
        finally:
            self.total_ns += time.thread_time_ns() - before


class Watcher(Protocol):
    """What hears of an async generator."""

    def driven(self, awaitable: Awaitable[Any]) -> Awaitable[Any]: ...

    def ended(self, error: BaseException) -> None: ...


class AsyncSteps:
    """An async generator whose next step is what its consumer asked for last."""

    def __init__(self, steps: AsyncGenerator[Any, Any], around: Around, watcher: Watcher) -> None:
        self._steps, self._around, self._watcher = steps, around, watcher
        self._advance: Callable[[], Awaitable[Any]] = partial(anext, steps)

    def __aiter__(self) -> "AsyncSteps":
        return self

    async def __anext__(self) -> Any:
        try:
            with self._around():
                return await self._watcher.driven(self._advance())
        except BaseException as error:
            self._watcher.ended(error)
            raise

    def send(self, value: Any) -> None:
        """Hand `value` in with the next step."""
        self._advance = partial(self._steps.asend, value)

    def throw(self, error: BaseException) -> None:
        """Raise `error` inside with the next step."""
        self._advance = partial(self._steps.athrow, error)


def run(around: Around, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Do what `steps` does, for whoever sends, throws or closes too."""
    advance: Callable[[], Any] = partial(next, steps)
    while True:
        try:
            item = _step(around, advance)
        except StopIteration as end:
            return end.value
        try:
            advance = partial(steps.send, (yield item))
        except BaseException as error:  # thrown in by whoever iterates: it is meant for the steps
            advance = partial(steps.throw, error)


def _step(around: Around, advance: Callable[[], Any]) -> Any:
    with around():
        return advance()


@coroutine
def run_coroutine(around: Around, awaitable: Awaitable[Any]) -> Generator[Any, Any, Any]:
    """Await `awaitable`, doing something around each of its steps."""
    return (yield from run(around, _as_generator(awaitable)))


def _as_generator(awaitable: Awaitable[Any]) -> Generator[Any, Any, Any]:
    return (yield from awaitable.__await__())
