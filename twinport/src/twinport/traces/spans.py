"""Spans of one's own: `span`, the decorators `traced` and `profiled`, and `[traces] functions`."""

import importlib
import inspect
import operator
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from types import FunctionType, ModuleType, coroutine
from typing import Any, TypeVar, cast, overload

from opentelemetry import context as otel
from opentelemetry.trace import INVALID_SPAN, Span, Status, StatusCode, set_span_in_context

from ..calls import current
from ..errors import ServiceError, StartupError, is_failure
from .provider import GlobalProvider
from .server_span import record_first

_tracer = GlobalProvider().get_tracer("twinport.traces")


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[Span]:
    """Show the lines that it encloses as a span of the call under way.

    `attributes` are text, numbers, bool, or lists of one of them. It yields OpenTelemetry's span,
    for events and further attributes; in a call that is not sampled that of nobody, which takes
    everything and shows nothing. An exception that leaves marks it, unless it is a caller's own.
    """
    if not _is_traced():
        yield INVALID_SPAN
        return
    with OpenSpan(name, attributes) as opened, opened.inside():
        yield opened.span


def _is_traced() -> bool:
    """Tell whether spans are of use here: not in a call that was not sampled."""
    call = current.get()
    return call is None or call.sampled


class OpenSpan:
    """A span below the current one, until the end of a block; failed if that fails.

    It is current only `inside`: a generator, whose span is open between its steps too, shares the
    context of whoever iterates it, who must not see its spans.
    """

    def __init__(self, name: str, attributes: dict[str, Any]) -> None:
        self.span = _tracer.start_span(name, attributes=attributes)
        self._context = set_span_in_context(self.span)

    def __enter__(self) -> "OpenSpan":
        return self

    def __exit__(self, _: object, error: BaseException | None, traceback: object) -> None:
        self.end(error)

    def end(self, error: BaseException | None) -> None:
        """End it, failed by `error`, which the end of an async generator is not."""
        if isinstance(error, Exception) and not isinstance(error, StopAsyncIteration):
            _fail(self.span, error)
        self.span.end()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Make it current, and whatever was made current inside the last time."""
        outside = otel.get_current()
        otel.attach(self._context)  # detaching fails where a generator is closed by another task
        try:
            yield
        finally:
            self._context = otel.get_current()
            otel.attach(outside)

    def run(self, step: Callable[[], Any]) -> Any:
        """Return what a function, or one step of a generator, returns."""
        with self.inside():
            return step()

    async def wait_for(self, step: Callable[[], Awaitable[Any]]) -> Any:
        """Return what a coroutine, or one step of an async generator, returns."""
        with self.inside():
            return await step()

    async def wait_for_item(self, step: Callable[[], Awaitable[Any]]) -> Any:
        """Return the next item of an async generator, which ends with what it raises."""
        try:
            return await self.wait_for(step)
        except BaseException as error:
            self.end(error)
            raise


class ProfiledSpan(OpenSpan):
    """Has the wall time of a function, and the processor time of its thread in all of its steps."""

    def __init__(self, name: str, attributes: dict[str, Any]) -> None:
        super().__init__(name, attributes)
        self._started_ns, self._cpu_ns = time.perf_counter_ns(), 0

    def end(self, error: BaseException | None) -> None:
        wall_ns = time.perf_counter_ns() - self._started_ns
        self.span.set_attribute("profile.wall_s", wall_ns / 1e9)
        self.span.set_attribute("profile.cpu_s", self._cpu_ns / 1e9)
        super().end(error)

    def run(self, step: Callable[[], Any]) -> Any:
        return super().run(partial(self._measured, step))

    async def wait_for(self, step: Callable[[], Awaitable[Any]]) -> Any:
        return await super().wait_for(partial(self._each_measured, step))

    @coroutine
    def _each_measured(self, step: Callable[[], Awaitable[Any]]) -> Generator[Any, Any, Any]:
        """Measure between its own awaits: meanwhile other tasks use the processor."""
        return (yield from _each_step(step().__await__(), self._measured))

    def _measured(self, step: Callable[[], Any]) -> Any:
        before = time.thread_time_ns()
        try:
            return step()
        finally:
            self._cpu_ns += time.thread_time_ns() - before


def _fail(failed: Span, error: Exception) -> None:
    """Mark a span as failed; an error that is meant for the caller is no failure of ours."""
    if isinstance(error, ServiceError) and not is_failure(error.code, error.status):
        failed.set_attribute("error.type", error.code)
        return
    kind = type(error).__name__
    failed.set_attribute("error.type", kind)
    failed.set_status(Status(StatusCode.ERROR, f"{kind}: {error}"))
    if record_first(error):  # the spans around this one need not tell it again
        failed.record_exception(error)


Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def traced(function: Function, /) -> Function: ...


@overload
def traced(*, arguments: bool = False) -> Callable[[Function], Function]: ...


def traced(function: Callable[..., Any] | None = None, /, *, arguments: bool = False) -> Any:
    """Give each call of a function a span; `arguments` shows them, except what looks secret.

    Plain and async functions, and generators of either kind; as `@traced` or `@traced(...)`.
    """
    if function is None:
        return partial(traced, arguments=arguments)
    return _decorated(function, OpenSpan, arguments=arguments)


def profiled(function: Function) -> Function:
    """Give each call of a function a span with its wall and processor time.

    They are its attributes `profile.wall_s` and `profile.cpu_s`, in seconds.
    """
    return cast(Function, _decorated(function, ProfiledSpan))


Begin = Callable[[tuple[Any, ...], dict[str, Any]], OpenSpan]

MARK = "__traced__"
LONGEST = 200  # characters of one argument


def _decorated(
    function: Callable[..., Any], kind: type[OpenSpan], *, arguments: bool = False
) -> Callable[..., Any]:
    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenSpan:
        attributes = _shown(inspect.signature(function), args, kwargs) if arguments else {}
        attributes["code.function.name"] = f"{function.__module__}.{function.__qualname__}"
        return kind(function.__qualname__, attributes)

    decorate = next((decorate for is_one, decorate in KINDS if is_one(function)), _function)
    call = wraps(function)(decorate(function, begin))
    vars(call)[MARK] = True
    return call


def _shown(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    return {
        f"argument.{name}": value if isinstance(value, int | float) else str(value)[:LONGEST]
        for name, value in signature.bind(*args, **kwargs).arguments.items()
        if name not in {"self", "cls"}
    }


def _function(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if not _is_traced():
            return function(*args, **kwargs)
        with begin(args, kwargs) as opened:
            return opened.run(partial(function, *args, **kwargs))

    return call


def _coroutine(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        if not _is_traced():
            return await function(*args, **kwargs)
        with begin(args, kwargs) as opened:
            return await opened.wait_for(partial(function, *args, **kwargs))

    return call


def _generator(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        steps = function(*args, **kwargs)
        if not _is_traced():
            return (yield from steps)
        with begin(args, kwargs) as opened:
            return (yield from _each_step(steps, opened.run))

    return call


def _async_generator(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        steps = function(*args, **kwargs)
        wait_for_item = begin(args, kwargs).wait_for_item if _is_traced() else operator.call
        step = partial(anext, steps)
        while True:
            try:
                item = await wait_for_item(step)
            except StopAsyncIteration:
                return
            try:
                step = partial(steps.asend, (yield item))
            except BaseException as error:  # thrown in by whoever iterates: meant for the steps
                step = partial(steps.athrow, error)

    return call


KINDS = (
    (inspect.iscoroutinefunction, _coroutine),
    (inspect.isasyncgenfunction, _async_generator),
    (inspect.isgeneratorfunction, _generator),
)


def _each_step(steps: Any, run: Callable[[Callable[[], Any]], Any]) -> Generator[Any, Any, Any]:
    """Do what the generator `steps` does, each step by `run`; as `yield from` does it."""
    step = partial(next, steps)
    while True:
        try:
            item = run(step)
        except StopIteration as end:
            return end.value
        try:
            step = partial(steps.send, (yield item))
        except BaseException as error:  # thrown in by whoever iterates: meant for the steps
            step = partial(steps.throw, error)


@contextmanager
def functions_traced(modules: Sequence[str]) -> Iterator[None]:
    """Trace the public functions and methods of `modules` until the end; raises StartupError."""
    with ExitStack() as undo:
        for module in [_imported(name) for name in modules]:
            _trace(module, undo)
        yield


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, TypeError, ValueError) as error:  # the latter two: no absolute name
        raise StartupError(f"traces.functions: {name!r}: {error}") from error


def _trace(module: ModuleType, undo: ExitStack) -> None:
    public = [member for _, member in _public(module, module)]
    for member in public:
        if isinstance(member, type):
            _trace_methods(member, module, undo)
    replace_everywhere({each: traced(each) for each in public if _is_function(each)}, undo)


def _public(owner: ModuleType | type, module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield what `owner` defines for others, as it is stored: a static method as staticmethod."""
    for name, value in list(vars(owner).items()):
        inner = getattr(value, "__func__", value)
        if not name.startswith("_") and getattr(inner, "__module__", "") == module.__name__:
            yield name, value


def _is_function(value: object) -> bool:
    return isinstance(value, FunctionType) and MARK not in vars(value)


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
    places = [
        (module, name, functions[value])
        for module in list(sys.modules.values())
        if isinstance(module, ModuleType)
        for name, value in list(vars(module).items())
        if isinstance(value, FunctionType) and value in functions
    ]
    for module, name, other in places:
        _set(module, name, other, undo)


def _set(owner: ModuleType | type, name: str, value: object, undo: ExitStack) -> None:
    undo.callback(setattr, owner, name, vars(owner)[name])
    setattr(owner, name, value)
