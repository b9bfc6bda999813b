"""OpenTelemetry's global provider may be set once: this one hands over to whoever traces now."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import (
    NoOpTracerProvider,
    ProxyTracerProvider,
    Span,
    Tracer,
    TracerProvider,
)
from opentelemetry.util.types import Attributes

_providers: list[TracerProvider] = [NoOpTracerProvider()]


@contextmanager
def in_force(provider: TracerProvider) -> Iterator[None]:
    """Let `provider` make the spans of `opentelemetry.trace.get_tracer`, until the end."""
    if isinstance(trace.get_tracer_provider(), ProxyTracerProvider):  # nobody has set one
        trace.set_tracer_provider(ProviderInForce())
    _providers.append(provider)
    try:
        yield
    finally:
        _providers.remove(provider)


class ProviderInForce(TracerProvider):
    """Asks the provider in force each time that a span starts."""

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        return _TracerInForce(
            (instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        )


class _TracerInForce(Tracer):
    def __init__(self, scope: tuple[str, str | None, str | None, Attributes]) -> None:
        self._scope = scope
        self._known: tuple[TracerProvider, Tracer] | None = None

    def start_span(self, *args: Any, **kwargs: Any) -> Span:
        return self._tracer().start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer().start_as_current_span(*args, **kwargs)

    def _tracer(self) -> Tracer:
        provider = _providers[-1]
        if self._known is None or self._known[0] is not provider:
            self._known = provider, provider.get_tracer(*self._scope)
        return self._known[1]
