"""Traces: every call has ids, some leave spans; helpers for spans of one's own."""

from .settings import TracesSettings
from .spans import profiled, span, traced
from .tracing import Tracing, tracing

__all__ = ["TracesSettings", "Tracing", "profiled", "span", "traced", "tracing"]
