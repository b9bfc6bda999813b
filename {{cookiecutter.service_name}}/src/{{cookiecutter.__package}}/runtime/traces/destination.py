"""Where the spans of this service go, by its settings."""

from urllib.parse import urlsplit

from ..errors import StartupError
from ..settings import Identity
from .exporters import ENDPOINTS, HttpExporting
from .outbox import Bounds, Outbox
from .report import Report
from .settings import TracesSettings

DEVELOPMENT = "development"
HINT = (
    "traces: nobody takes them at {endpoint} ({{reason}}), so this run goes without;"
    " to see them here on the terminal, start with --set traces.exporter=console"
)


def make_outbox(settings: TracesSettings, identity: Identity) -> Outbox | None:
    """Return the way out of the spans, None if there is none; raises StartupError."""
    if settings.exporter == "none":
        return None
    endpoint = settings.endpoint or ENDPOINTS[settings.exporter]
    if urlsplit(endpoint).scheme not in {"http", "https"}:
        raise StartupError(f"traces.endpoint: {endpoint!r} is no http:// or https:// URL")
    hint = HINT.format(endpoint=endpoint) if identity.environment == DEVELOPMENT else ""
    report = Report(f"{settings.exporter} at {endpoint}", hint)
    return Outbox(HttpExporting(settings.exporter, endpoint), report, Bounds())
