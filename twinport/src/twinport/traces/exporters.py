"""Where the spans of this service go, by its settings."""

from importlib import import_module

from ..settings import Identity
from .console_exporter import ConsoleExporting
from .settings import TracesSettings
from .span_queue import Bounds, Exporting, Outbox, Redaction, Report, Way

DEVELOPMENT = "development"
HINT = (
    "traces: nobody takes them at {endpoint} ({{reason}}), so this run goes without;"
    " to see them here on the terminal, start with --set traces.exporter=console"
)
ENDPOINTS = {
    "zipkin": "http://localhost:9411/api/v2/spans",
    "otlp": "http://localhost:4318/v1/traces",
}
AT_ONCE_S = 0.1  # whoever looks at a terminal is waiting


def make_outbox(
    settings: TracesSettings, identity: Identity, redaction: Redaction, bounds: Bounds
) -> Outbox | None:
    """Return the way out of the spans, None if there is none."""
    match settings.exporter:
        case "none":
            return None
        case "console":
            way = Way(ConsoleExporting(), Report("the terminal"))
            return Outbox(way, redaction, bounds._replace(delay_s=AT_ONCE_S))
        case _:
            return Outbox(_to_backend(settings, identity), redaction, bounds)


def _to_backend(settings: TracesSettings, identity: Identity) -> Way:
    endpoint = settings.endpoint or ENDPOINTS[settings.exporter]
    hint = HINT.format(endpoint=endpoint) if identity.environment == DEVELOPMENT else ""
    report = Report(f"{settings.exporter} at {endpoint}", hint)
    # With requests: for those alone whose spans leave over HTTP.
    http = import_module(".http_exporters", __package__)
    exporting: Exporting = http.HttpExporting(settings.exporter, endpoint)
    return Way(exporting, report)
