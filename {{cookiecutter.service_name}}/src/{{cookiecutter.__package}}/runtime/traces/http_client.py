"""Spans for an HTTP client, by OpenTelemetry's own instrumentation of httpx."""

import httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor, RequestInfo
from opentelemetry.trace import Span

from .conventions import choose_stable_names


def instrument(client: httpx.AsyncClient) -> None:
    """Give each request a span, and tell the other service whether it is traced."""
    choose_stable_names()
    HTTPXClientInstrumentor.instrument_client(client, request_hook=_hide_secrets)


async def _hide_secrets(span: Span, request: RequestInfo) -> None:
    """Record the URL without query and user, where secrets may be."""
    url = httpx.URL(request.url) if isinstance(request.url, str) else request.url
    if isinstance(url, httpx.URL):
        shown = url.copy_with(query=None, userinfo=b"")
        span.set_attribute("url.full", str(shown))
