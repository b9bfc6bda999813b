"""Settings of traces: where spans go, which calls leave some, and what is told downstream."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from ..settings import Duration, Section, Url

Exporter = Literal["zipkin", "otlp", "console", "none"]
Propagation = Literal["tracecontext", "b3", "b3multi", "baggage"]


class TracesSettings(Section):
    """The `[traces]` table."""

    exporter: Exporter = "zipkin"
    """Zipkin's JSON v2, OTLP over HTTP, a coloured tree on the terminal, or nowhere."""
    endpoint: Url = ""
    """URL that takes the spans; empty means the exporter's usual one on localhost."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Part of the calls that are traced, 0 to 1, where no caller has decided already."""
    propagators: list[Propagation] = Field(default=["tracecontext", "b3", "baggage"])
    """Headers that carry a trace from service to service: all are read, in this order, and sent."""
    functions: list[str] = Field(default=[])
    """Modules whose public functions and methods get a span each, such as `shop.orders.domain`."""
    keep_errors: bool = True
    """Whether a failed call leaves its server span although it was not sampled."""
    keep_slower_than: Duration = timedelta(seconds=1)
    """A call that took longer leaves its server span although it was not sampled."""
