"""What is measured, and how finely."""

from datetime import timedelta
from typing import Annotated

from annotated_types import Gt
from pydantic import Field

from ..settings import Duration, Section

MILLISECONDS = (5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000)


class MetricsSettings(Section):
    """Measurements for Prometheus, at /metrics on the management port."""

    enabled: bool = True
    """Measure every call; the process and the runtime are measured in any case."""

    buckets: Annotated[tuple[Annotated[Duration, Gt(timedelta(0))], ...], Field(min_length=1)] = (
        tuple(timedelta(milliseconds=count) for count in MILLISECONDS)
    )
    """Upper bounds of the buckets of every duration (OpenTelemetry's advice is the default)."""
