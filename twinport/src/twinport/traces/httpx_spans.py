"""Spans of HTTP clients, by OpenTelemetry's own instrumentation of httpx2 and httpx."""

import sys
from typing import Any

import httpx2
from opentelemetry.instrumentation.httpx import (
    HTTPX2ClientInstrumentor,
    HTTPXClientInstrumentor,
    RequestInfo,
)
from opentelemetry.trace import Span

from .instrumentations import choose_stable_names


def instrument(client: httpx2.AsyncClient) -> None:
    """Give each request a span, and tell the other service whether it is traced."""
    choose_stable_names()
    if not HTTPX2ClientInstrumentor().is_instrumented_by_opentelemetry:
        either: Any = client  # typed as httpx's where that is installed, too
        HTTPX2ClientInstrumentor.instrument_client(either, request_hook=_hide_soon)


def instrument_all() -> None:
    """Do so for every client of either library in this process, also for those that are there."""
    choose_stable_names()
    instrumentors = {"httpx": HTTPXClientInstrumentor(), "httpx2": HTTPX2ClientInstrumentor()}
    for library, instrumentor in instrumentors.items():
        if library in sys.modules and not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument(
                skip_dep_check=True, request_hook=_hide_secrets, async_request_hook=_hide_soon
            )


async def _hide_soon(span: Span, request: RequestInfo) -> None:
    _hide_secrets(span, request)


def _hide_secrets(span: Span, request: RequestInfo) -> None:
    """Record the URL without query and user, where secrets may be."""
    if not isinstance(request.url, tuple):  # as httpx gave it before 0.20
        span.set_attribute("url.full", str(request.url.copy_with(query=None, userinfo=b"")))
