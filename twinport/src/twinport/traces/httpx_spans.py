"""Spans of HTTP clients, by OpenTelemetry's own instrumentation of httpx."""

import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor, RequestInfo
from opentelemetry.trace import Span

from .instrumentations import choose_stable_names


def instrument(client: httpx.AsyncClient) -> None:
    """Give each request a span, and tell the other service whether it is traced."""
    choose_stable_names()
    if not HTTPXClientInstrumentor().is_instrumented_by_opentelemetry:
        HTTPXClientInstrumentor.instrument_client(client, request_hook=_hide_soon)


def instrument_all(_: object) -> None:
    """Do so for every client of httpx in this process, also for those that are there already."""
    choose_stable_names()
    HTTPXClientInstrumentor().instrument(
        skip_dep_check=True, request_hook=_hide_secrets, async_request_hook=_hide_soon
    )


async def _hide_soon(span: Span, request: RequestInfo) -> None:
    _hide_secrets(span, request)


def _hide_secrets(span: Span, request: RequestInfo) -> None:
    """Record the URL without query and user, where secrets may be."""
    url = httpx.URL(request.url) if isinstance(request.url, str) else request.url
    if isinstance(url, httpx.URL):
        shown = url.copy_with(query=None, userinfo=b"")
        span.set_attribute("url.full", str(shown))
