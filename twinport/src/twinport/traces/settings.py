"""Settings of traces, and OpenTelemetry's variables that tell how spans leave."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from ..errors import StartupError
from ..logs.bounded_queue import Bounds
from ..settings import Duration, Section, Url
from ..settings.opentelemetry import ENDPOINTS, RATIO_SAMPLERS, SAMPLERS

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
    continuation: Literal["continue", "restart"] = "continue"
    """Whether a call joins the trace of its caller and takes its baggage and `x-request-id`, or
    begins a trace of its own, as it should where strangers call."""
    functions: list[str] = Field(default=[])
    """Modules whose public functions and methods get a span each, such as `shop.orders.domain`."""
    keep_errors: bool = True
    """Whether a failed call leaves its server span although it was not sampled."""
    keep_slower_than: Duration = timedelta(seconds=1)
    """A call that took longer leaves its server span although it was not sampled."""


# Variables of OpenTelemetry that count: for our settings, for the queue of spans, ...
HONOURED = (
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_PROPAGATORS",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
)
# ... for OpenTelemetry's own packages, which read them wherever we tell them nothing else ...
READ_BY_PACKAGES = (
    "OTEL_ATTRIBUTE_",
    "OTEL_EVENT_ATTRIBUTE_",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_",
    "OTEL_LINK_ATTRIBUTE_",
    "OTEL_PYTHON_HTTPX_EXCLUDED_URLS",
    "OTEL_SEMCONV_STABILITY_OPT_IN",
    "OTEL_SPAN_",
)
READ_BY_OTLP = tuple(
    f"OTEL_EXPORTER_OTLP_{signal}{what}"
    for signal in ("", "TRACES_")
    for what in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY", "COMPRESSION", "HEADERS")
)
# ... of which these do not reach what we write ourselves: the span of a call that is answered.
NOT_EVERYWHERE = {
    ("OTEL_ATTRIBUTE_", "OTEL_EVENT_ATTRIBUTE_", "OTEL_LINK_ATTRIBUTE_", "OTEL_SPAN_"): (
        "spans of calls that are answered"
    ),
    ("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_",): "calls that were not sampled",
}


def bounds(variables: Mapping[str, str]) -> Bounds:
    """Return the bounds of the queue; raises StartupError."""
    usual = Bounds(limit=2048, batch=512, delay_s=1.0)
    queue = _number(variables, "OTEL_BSP_MAX_QUEUE_SIZE", usual.limit)
    batch = _number(variables, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", min(usual.batch, queue))
    delay_ms = _number(variables, "OTEL_BSP_SCHEDULE_DELAY", round(usual.delay_s * 1000))
    return Bounds(queue, min(batch, queue), delay_ms / 1000)


def not_honoured(variables: Mapping[str, str], exporter: str) -> list[str]:
    """Return the variables of OpenTelemetry that are set and change nothing."""
    honoured = {*HONOURED, *ENDPOINTS.get(exporter, ())}
    packages = READ_BY_PACKAGES + (READ_BY_OTLP if exporter == "otlp" else ())
    names = sorted(name for name in variables if name.startswith("OTEL_"))
    unknown = [n for n in names if n not in honoured and not n.startswith(packages)]
    not_everywhere = [
        f"{name} (for {where})"
        for prefixes, where in NOT_EVERYWHERE.items()
        for name in names
        if name.startswith(prefixes)
    ]
    return [*unknown, *_without_meaning(variables), *not_everywhere]


def _without_meaning(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield the honoured ones that say nothing as they are."""
    sampler = variables.get("OTEL_TRACES_SAMPLER", "").strip()
    if sampler and sampler not in {*SAMPLERS, *RATIO_SAMPLERS}:
        yield f"OTEL_TRACES_SAMPLER={sampler}"
    if variables.get("OTEL_TRACES_SAMPLER_ARG") and sampler not in RATIO_SAMPLERS:
        yield "OTEL_TRACES_SAMPLER_ARG"
    disabled = variables.get("OTEL_SDK_DISABLED", "").strip()
    if disabled.lower() not in {"", "true", "false"}:
        yield f"OTEL_SDK_DISABLED={disabled}"


def _number(variables: Mapping[str, str], name: str, usual: int) -> int:
    text = variables.get(name, "").strip() or str(usual)
    if not text.isdecimal() or int(text) == 0:
        raise StartupError(f"{name}: {text!r} is no whole number above 0")
    return int(text)
