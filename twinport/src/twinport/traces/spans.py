"""Spans of one's own: `span`, the decorators `traced` and `profiled`, and `[traces] functions`."""

import importlib
import inspect
import sys
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial, wraps
from types import FunctionType, ModuleType, coroutine
from typing import Any, NamedTuple, Protocol, TypeVar, cast, overload

from opentelemetry import context as otel
from opentelemetry.trace import INVALID_SPAN, Span, Status, StatusCode, set_span_in_context

from ..calls.call import current
from ..errors import ServiceError, StartupError, is_failure
from .provider import ProviderInForce
from .server_span import record_first

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


_tracer = ProviderInForce().get_tracer("twinport.traces")


def is_traced() -> bool:
    """Tell whether spans are of use here: not in a call that was not sampled."""
    call = current.get()
    return call is None or call.sampled


def start(name: str, attributes: dict[str, Any]) -> Span:
    """Start a span below the current one; whoever starts it ends it."""
    return _tracer.start_span(name, attributes=attributes)


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[Span]:
    """Show the lines that it encloses as a span of the call under way.

    `attributes` are text, numbers, bool, or lists of one of them. It yields OpenTelemetry's span,
    for events and further attributes; in a call that is not sampled that of nobody, which takes
    everything and shows nothing. An exception that leaves marks it, unless it is a caller's own.
    """
    if not is_traced():
        yield INVALID_SPAN
        return
    opened = start(name, attributes)
    with ending(opened), Inside(opened).step():
        yield opened


@contextmanager
def ending(opened: Span) -> Iterator[None]:
    """End the span, failed if what it encloses fails."""
    try:
        yield
    except Exception as error:
        fail(opened, error)
        raise
    finally:
        opened.end()


def fail(failed: Span, error: Exception) -> None:
    """Mark a span as failed; an error that is meant for the caller is no failure of ours."""
    if isinstance(error, ServiceError) and not is_failure(error.code, error.status):
        failed.set_attribute("error.type", error.code)
        return
    kind = type(error).__name__
    failed.set_attribute("error.type", kind)
    failed.set_status(Status(StatusCode.ERROR, f"{kind}: {error}"))
    if record_first(error):  # the spans around this one need not tell it again
        failed.record_exception(error)


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


Function = TypeVar("Function", bound=Callable[..., Any])

MARK = "__traced__"


@overload
def traced(function: Function, /) -> Function: ...


@overload
def traced(*, arguments: bool = False) -> Callable[[Function], Function]: ...


def traced(function: Callable[..., Any] | None = None, /, *, arguments: bool = False) -> Any:
    """Give each call of a function a span; `arguments` shows them, except what looks secret.

    Plain and async functions, and generators of either kind; as `@traced` or `@traced(...)`.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        return _observed(Plan(function, arguments=arguments, metered=False))

    return decorate if function is None else decorate(function)


def profiled(function: Function) -> Function:
    """Give each call of a function a span with its wall and processor time.

    They are its attributes `profile.wall_s` and `profile.cpu_s`, in seconds.
    """
    return cast(Function, _observed(Plan(function, arguments=False, metered=True)))


def was_decorated(function: Callable[..., Any]) -> bool:
    """Tell whether each call of the function has a span already."""
    return MARK in vars(function)


def _observed(plan: Plan) -> Callable[..., Any]:
    observers = (observe for is_kind, observe in KINDS if is_kind(plan.function))
    call = wraps(plan.function)(next(observers, _function)(plan))
    vars(call)[MARK] = True
    return call


def _function(plan: Plan) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if not is_traced():
            return plan.function(*args, **kwargs)
        with plan.observing(args, kwargs) as observed, Inside(observed.span).step(), observed.cpu():
            return plan.function(*args, **kwargs)

    return call


def _coroutine(plan: Plan) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        if not is_traced():
            return await plan.function(*args, **kwargs)
        with plan.observing(args, kwargs) as observed, Inside(observed.span).step():
            return await observed.driven(plan.function(*args, **kwargs))

    return call


def _generator(plan: Plan) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        steps = plan.function(*args, **kwargs)
        if not is_traced():
            return (yield from steps)
        with plan.observing(args, kwargs) as observed:
            measured = run(observed.cpu, steps)
            return (yield from run(Inside(observed.span).step, measured))

    return call


def _async_generator(plan: Plan) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        steps = _async_steps(plan, args, kwargs)
        async for item in steps:
            try:
                steps.send((yield item))
            except BaseException as error:  # thrown in by whoever iterates
                steps.throw(error)

    return call


def _async_steps(plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncSteps:
    steps = plan.function(*args, **kwargs)
    if not is_traced():
        return AsyncSteps(steps, nullcontext, Observed(INVALID_SPAN, metered=False))
    observed = plan.begin(args, kwargs)
    return AsyncSteps(steps, Inside(observed.span).step, observed)


KINDS = (
    (inspect.iscoroutinefunction, _coroutine),
    (inspect.isasyncgenfunction, _async_generator),
    (inspect.isgeneratorfunction, _generator),
)


@contextmanager
def automatic(modules: Sequence[str]) -> Iterator[None]:
    """Trace the public functions and methods of `modules` until the end; raises StartupError."""
    with ExitStack() as undo:
        _trace([_imported(name) for name in modules], undo)
        yield


def _trace(modules: Sequence[ModuleType], undo: ExitStack) -> None:
    members = [(module, member) for module in modules for _, member in _public(module, module)]
    for module, member in members:
        if isinstance(member, type):
            _trace_methods(member, module, undo)
    functions = [member for _, member in members if _is_function(member)]
    if functions:
        replace_everywhere({function: traced(function) for function in functions}, undo)


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, TypeError, ValueError) as error:  # the latter two: no absolute name
        raise StartupError(f"traces.functions: {name!r}: {error}") from error


def _public(owner: ModuleType | type, module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield what `owner` defines for others, as it is stored: a static method as staticmethod."""
    for name, value in list(vars(owner).items()):
        inner = getattr(value, "__func__", value)
        if not name.startswith("_") and getattr(inner, "__module__", "") == module.__name__:
            yield name, value


def _is_function(value: object) -> bool:
    return isinstance(value, FunctionType) and not was_decorated(value)


def _trace_methods(owner: type, module: ModuleType, undo: ExitStack) -> None:
    for name, method in _public(owner, module):
        if isinstance(method, staticmethod | classmethod) and _is_function(method.__func__):
            _set(owner, name, type(method)(traced(method.__func__)), undo)
        elif _is_function(method):
            _set(owner, name, traced(method), undo)


def replace_everywhere(
    functions: dict[Callable[..., Any], Callable[..., Any]], undo: ExitStack
) -> None:
    """Put others in the place of `functions`, also where they were imported by name."""
    modules = [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]
    for module in modules:
        held = [
            (name, functions[value])
            for name, value in list(vars(module).items())
            if isinstance(value, FunctionType) and value in functions
        ]
        for name, other in held:
            _set(module, name, other, undo)


def _set(owner: ModuleType | type, name: str, value: object, undo: ExitStack) -> None:
    undo.callback(setattr, owner, name, vars(owner)[name])
    setattr(owner, name, value)
