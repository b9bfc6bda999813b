"""One call of a decorated function: its span, and its times if they were asked for."""

import inspect
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

from opentelemetry.trace import Span

from .spans import ending, fail, start
from .steps import CpuMeter, run_coroutine

LONGEST = 200  # characters of one argument


class Observed:
    """One call of a function; with a meter, also how long it took."""

    def __init__(self, span: Span, *, metered: bool) -> None:
        self.span = span
        self._meter = CpuMeter() if metered else None
        self._began_ns = time.perf_counter_ns()

    def cpu(self) -> AbstractContextManager[None]:
        """Measure one step of the function."""
        return self._meter.step() if self._meter else nullcontext()

    def driven(self, awaitable: Awaitable[Any]) -> Awaitable[Any]:
        """Measure each step of what is awaited: in between, other tasks use the processor."""
        return run_coroutine(self._meter.step, awaitable) if self._meter else awaitable

    def measured(self) -> None:
        """Write the times down, in seconds."""
        if self._meter is not None:
            self.span.set_attribute(
                "profile.wall_s", (time.perf_counter_ns() - self._began_ns) / 1e9
            )
            self.span.set_attribute("profile.cpu_s", self._meter.total_ns / 1e9)

    def ended(self, error: BaseException) -> None:
        """End the span of an async generator with what came out of it at last."""
        self.measured()
        if isinstance(error, Exception) and not isinstance(error, StopAsyncIteration):
            fail(self.span, error)
        self.span.end()


class Plan(NamedTuple):
    """What is to be seen of the calls of a function."""

    function: Callable[..., Any]
    arguments: bool
    metered: bool

    def begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Observed:
        """Start the span of one call; whoever begins ends it."""
        function = self.function
        told = dict(_shown(function, args, kwargs)) if self.arguments else {}
        told["code.function.name"] = f"{function.__module__}.{function.__qualname__}"
        return Observed(start(function.__qualname__, told), metered=self.metered)

    @contextmanager
    def observing(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[Observed]:
        """Keep the span of one call open."""
        observed = self.begin(args, kwargs)
        with ending(observed.span):
            try:
                yield observed
            finally:
                observed.measured()


def _shown(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[tuple[str, str | int | float]]:
    for name, value in inspect.signature(function).bind(*args, **kwargs).arguments.items():
        if name not in {"self", "cls"}:
            short = value if isinstance(value, int | float) else str(value)[:LONGEST]
            yield f"argument.{name}", short
