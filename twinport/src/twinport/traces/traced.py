"""Decorators that give each call of a function a span: plain, async, and both generators."""

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import nullcontext
from functools import wraps
from typing import Any, TypeVar, cast, overload

from opentelemetry.trace import INVALID_SPAN

from .observed import Observed, Plan
from .spans import is_traced
from .steps import AsyncSteps, Inside, run

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
