"""The middleware stacks of one FastAPI application: as it is, and with a span for each request."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from ..calls import current
from .instrumentations import choose_stable_names
from .provider import starting_call

MIDDLEWARE: object = OpenTelemetryMiddleware


def instrument(
    api: FastAPI, provider: TracerProvider, state: Mapping[str, Any]
) -> tuple[ASGIApp, ASGIApp]:
    """Return `api` without and with spans, to which nothing can be added from now on.

    The edge chooses one for each call. OpenTelemetry's instrumentation of FastAPI would answer
    errors, which the edge does, and route each request once more: here the span gets its name when
    the call has ended. `state` is what the lifespans have made for requests.
    """
    for app in _apps(api):
        _forget_others(app)
    plain = api.build_middleware_stack()  # each layer exists only once
    choose_stable_names()

    async def single(scope: Scope, receive: Receive, send: Send) -> None:
        await plain(scope, receive, send)  # what is no coroutine function is taken for ASGI 2

    traced = OpenTelemetryMiddleware(
        single,
        excluded_urls="",
        default_span_details=_method,
        tracer_provider=provider,
        exclude_spans=["receive", "send"],
    )
    api.middleware_stack = plain  # so that it refuses what would come too late
    complete = _completing(api, state)

    def answer_plainly(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        complete(scope)
        return plain(scope, receive, send)

    def answer_traced(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        complete(scope)
        call = current.get()
        starting_call.set(call)
        if call is not None:
            call.scope = scope  # for the attributes of the span
        return traced(scope, receive, send)

    return answer_plainly, answer_traced


def _apps(app: Starlette) -> Iterator[Starlette]:
    """Yield an application and those that are mounted in it."""
    yield app
    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, Starlette):
            yield from _apps(route.app)


def _completing(api: FastAPI, state: Mapping[str, Any]) -> Callable[[Scope], None]:
    """Return what puts into a scope what FastAPI and its lifespans put there."""
    common = {"app": api} | ({"root_path": api.root_path} if api.root_path else {})

    def complete(scope: Scope) -> None:
        scope.update(common)
        if state:
            scope["state"] = {**state, **scope.get("state", {})}

    return complete


def _forget_others(app: Starlette) -> None:
    """Take out what others have put in for spans, as `opentelemetry-instrument` does at once."""
    vars(app).pop("build_middleware_stack", None)
    vars(app).pop("_is_instrumented_by_opentelemetry", None)
    app.user_middleware[:] = [each for each in app.user_middleware if each.cls is not MIDDLEWARE]


def _method(scope: Scope) -> tuple[str, dict[str, str]]:
    return scope["method"], {}
