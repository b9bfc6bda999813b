"""Measurements of every call, of the process and of the runtime, for Prometheus."""

from .metrics import Metrics, Readings
from .settings import MetricsSettings

__all__ = ["Metrics", "MetricsSettings", "Readings"]
