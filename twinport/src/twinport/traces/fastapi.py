"""The middleware stacks of one FastAPI application: as it is, and with a span for each request."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ..calls import current
from .instrumentations import choose_stable_names
from .provider import starting_call


def instrument(
    api: FastAPI, provider: TracerProvider, state: Mapping[str, Any]
) -> tuple[ASGIApp, ASGIApp]:
    """Return `api` without and with spans, to which nothing can be added from now on.

    The edge chooses one for each call. `state` is what the lifespans have made for requests.
    """
    plain = api.build_middleware_stack()  # each layer exists only once
    outermost = ServerErrorMiddleware(plain)
    vars(api)["build_middleware_stack"] = lambda: outermost  # the instrumentation asks for one
    choose_stable_names()
    FastAPIInstrumentor.instrument_app(
        api,
        tracer_provider=provider,
        excluded_urls="",
        exclude_spans=["receive", "send"],
    )
    traced = _instrumentation_alone(api.build_middleware_stack())
    api.middleware_stack = outermost  # so that it refuses what would come too late
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


def _completing(api: FastAPI, state: Mapping[str, Any]) -> Callable[[Scope], None]:
    """Return what puts into a scope what FastAPI and its lifespans put there."""
    common = {"app": api} | ({"root_path": api.root_path} if api.root_path else {})

    def complete(scope: Scope) -> None:
        scope.update(common)
        if state:
            scope["state"] = {**state, **scope.get("state", {})}

    return complete


def _instrumentation_alone(stack: ASGIApp) -> ASGIApp:
    """Take away the layers that answer errors, as the edge does, and the routing of each request.

    The span gets its name when the call has ended.
    """
    assert isinstance(stack, ServerErrorMiddleware)
    instrumentation = stack.app
    assert isinstance(instrumentation, OpenTelemetryMiddleware)
    error_layer = instrumentation.app
    assert isinstance(error_layer, ServerErrorMiddleware)
    instrumentation.app = error_layer.app
    instrumentation.default_span_details = _method
    return instrumentation


def _method(scope: Scope) -> tuple[str, dict[str, str]]:
    return scope["method"], {}
