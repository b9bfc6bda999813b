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

PORTS = {"http": 80, "https": 443}


def instrument(client: httpx2.AsyncClient, name: str = "") -> None:
    """Give each request a span, and tell the other service whether it is traced.

    `name`, of the client, is in the name of each span.
    """

    async def describe(span: Span, request: RequestInfo) -> None:
        _describe(span, request)
        if name:
            span.update_name(f"{request.method.decode()} {name}")

    choose_stable_names()
    if not HTTPX2ClientInstrumentor().is_instrumented_by_opentelemetry:
        either: Any = client  # typed as httpx's where that is installed, too
        HTTPX2ClientInstrumentor.instrument_client(either, request_hook=describe)


def instrument_all() -> None:
    """Do so for every client of either library in this process, also for those that are there."""
    choose_stable_names()
    instrumentors = {"httpx": HTTPXClientInstrumentor(), "httpx2": HTTPX2ClientInstrumentor()}
    for library, instrumentor in instrumentors.items():
        if library in sys.modules and not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument(
                skip_dep_check=True, request_hook=_describe, async_request_hook=_describe_soon
            )


async def _describe_soon(span: Span, request: RequestInfo) -> None:
    _describe(span, request)


def _describe(span: Span, request: RequestInfo) -> None:
    """Record the peer, and the URL without query and user, where secrets may be."""
    url = request.url
    if isinstance(url, tuple):  # as httpx gave it before 0.20
        return
    span.set_attribute("url.full", str(url.copy_with(query=None, userinfo=b"")))
    span.set_attribute("server.address", url.host)
    span.set_attribute("server.port", url.port or PORTS.get(url.scheme, 0))
