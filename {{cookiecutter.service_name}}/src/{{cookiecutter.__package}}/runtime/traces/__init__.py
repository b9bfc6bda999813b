"""Traces: every call has ids, some leave spans; helpers for spans of one's own."""

from .settings import TracesSettings
from .spans import span
from .tracing import Tracing, tracing

__all__ = ["TracesSettings", "Tracing", "span", "tracing"]
