"""The two faces of one FastAPI application: as it is, and with a span around each request."""

from collections.abc import Awaitable
from typing import NamedTuple

from fastapi import FastAPI
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ..calls.call import current
from .instrumentations import choose_stable_names
from .provider import opening


class Faces(NamedTuple):
    """One application, twice; the edge chooses a face for each call."""

    plain: ASGIApp
    traced: ASGIApp


def instrument(api: FastAPI, provider: TracerProvider) -> Faces:
    """Return the faces of `api`, to which nothing can be added from now on."""
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
    traced = _without_our_part(api.build_middleware_stack())

    def answer_plainly(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        scope["app"] = api  # as FastAPI does in front of its one stack
        return plain(scope, receive, send)

    def answer_traced(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        scope["app"] = api
        call = current.get()
        opening.set(call)
        if call is not None:
            call.scope = scope  # what the span tells
        return traced(scope, receive, send)

    return Faces(answer_plainly, answer_traced)


def _without_our_part(stack: ASGIApp) -> ASGIApp:
    """Return the instrumentation; errors are answered by the edge.

    Nor does it route each request once more: the span gets its name when the call has ended.
    """
    assert isinstance(stack, ServerErrorMiddleware)
    instrumentation = stack.app
    assert isinstance(instrumentation, OpenTelemetryMiddleware)
    answering = instrumentation.app
    assert isinstance(answering, ServerErrorMiddleware)
    instrumentation.app = answering.app
    instrumentation.default_span_details = _method
    return instrumentation


def _method(scope: Scope) -> tuple[str, dict[str, str]]:
    return scope["method"], {}
