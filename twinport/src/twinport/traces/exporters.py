"""Where the spans of this service go, by its settings; on the terminal, as trees of spans."""

import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TextIO

from loguru import logger
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id

from ..logs.bounded_queue import Bounds, Losses
from ..settings import Identity
from .settings import TracesSettings
from .span_queue import CONVENTIONAL, Backend, Redaction, SpanQueue

DEVELOPMENT = "development"
HINT = (
    "traces: nobody takes them at {endpoint} ({{reason}}), and until somebody does it goes without;"
    " to see them here on the terminal, start with --set traces.exporter=console"
)
ENDPOINTS = {
    "zipkin": "http://localhost:9411/api/v2/spans",
    "otlp": "http://localhost:4318/v1/traces",
}
AT_ONCE_S = 0.1  # whoever looks at a terminal is waiting


def make_span_queue(
    settings: TracesSettings, identity: Identity, redaction: Redaction, bounds: Bounds
) -> SpanQueue | None:
    """Return the way out of the spans, None if there is none."""
    kind = settings.exporter
    if kind == "none":
        return None
    if kind == "console":
        bounds = bounds._replace(delay_s=AT_ONCE_S)
        return SpanQueue(ConsoleExporter(), _losses("the terminal"), redaction, bounds)
    endpoint = settings.endpoint or ENDPOINTS[kind]
    hint = HINT.format(endpoint=endpoint) if identity.environment == DEVELOPMENT else ""
    # With requests: for those alone whose spans leave over HTTP.
    backend: Backend = import_module(".http_exporters", __package__).HttpExporter(kind, endpoint)
    return SpanQueue(backend, _losses(f"{kind} at {endpoint}", hint), redaction, bounds)


def _losses(place: str, hint: str = "") -> Losses:
    return Losses("traces", "spans", place, _say, hint)


def _say(text: str) -> None:
    logger.warning("{}", text)


KINDS = {SpanKind.SERVER: "server", SpanKind.CLIENT: "client"}
BOLD, DIM, RED, GREEN, PLAIN = "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[0m"
SECOND_NS = 1_000_000_000
LAST, OTHER, BELOW_LAST, BELOW_OTHER = "└─ ", "├─ ", "   ", "│  "
# Attributes of conventions that a developer asks for first; of one's own all are shown.
SHOWN = ("http.response.status_code", "rpc.response.status_code")
PATIENCE_S = 5.0  # spans whose root has not ended by then are shown without it
REMEMBERED = 1000  # traces that were shown: what still comes of them is shown at once


class ConsoleExporter:
    """Writes each trace as a tree when its first span, which ends last, has ended."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr or _nowhere()
        terminal = self._stream.isatty() or "FORCE_COLOR" in os.environ
        self._coloured = terminal and "NO_COLOR" not in os.environ
        self._waiting: dict[int, list[ReadableSpan]] = {}
        self._shown: deque[int] = deque(maxlen=REMEMBERED)

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        """Write the traces that are complete now."""
        for span in spans:
            self._waiting.setdefault(span.context.trace_id, []).append(span)
        self._show(list(self._complete()))

    def close(self) -> None:
        """Write what is left."""
        self._show(list(self._waiting))

    def _complete(self) -> Iterator[int]:
        patient_until = time.time_ns() - PATIENCE_S * 1e9
        for trace_id, spans in self._waiting.items():
            given_up = (spans[0].end_time or 0) < patient_until
            if given_up or trace_id in self._shown or any(map(_is_first, spans)):
                yield trace_id

    def _show(self, traces: list[int]) -> None:
        for trace_id in traces:
            spans = self._waiting.pop(trace_id)
            self._shown.append(trace_id)
            self._stream.write(_tree(spans, coloured=self._coloured))
        self._stream.flush()


def _nowhere() -> TextIO:
    """Return what takes the place of an output that was closed before the start."""
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _is_first(span: ReadableSpan) -> bool:
    return span.parent is None or span.parent.is_remote


def _tree(spans: Sequence[ReadableSpan], *, coloured: bool) -> str:
    """Return the spans of one trace as lines of text."""
    ids = {span.context.span_id for span in spans}
    below: dict[int, list[ReadableSpan]] = {}
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        parent = span.parent.span_id if span.parent else 0
        below.setdefault(parent if parent in ids else 0, []).append(span)
    title = _painted(f"trace {format_trace_id(spans[0].context.trace_id)}", DIM, coloured)
    return "\n".join((title, *_branches(0, below, "", coloured))) + "\n"


def _branches(
    parent: int, below: dict[int, list[ReadableSpan]], margin: str, coloured: bool
) -> Iterator[str]:
    children = below.get(parent, [])
    for child in children:
        is_last = child is children[-1]
        yield margin + (LAST if is_last else OTHER) + _line(child, coloured)
        deeper = margin + (BELOW_LAST if is_last else BELOW_OTHER)
        yield from _branches(child.context.span_id, below, deeper, coloured)


def _line(span: ReadableSpan, coloured: bool) -> str:
    failed = span.status.status_code is StatusCode.ERROR
    name = _painted(_on_one_line(span.name), RED if failed else BOLD, coloured)
    time = _painted(_duration((span.end_time or 0) - (span.start_time or 0)), GREEN, coloured)
    details = " ".join(filter(None, (KINDS.get(span.kind, ""), *_details(span))))
    failure = _painted(_on_one_line(span.status.description or ""), RED, coloured) if failed else ""
    return "  ".join(filter(None, (name, time, _painted(details, DIM, coloured), failure)))


def _on_one_line(text: str) -> str:
    """Return `text` with nothing that would move the cursor, or paint, by itself."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _details(span: ReadableSpan) -> Iterator[str]:
    for key, value in (span.attributes or {}).items():
        if key in SHOWN:
            yield str(value)
        elif not key.startswith(CONVENTIONAL):
            yield _on_one_line(f"{key}={value!s}")


def _duration(nanoseconds: int) -> str:
    if nanoseconds < SECOND_NS:
        return f"{nanoseconds / 1e6:.2f} ms"
    return f"{nanoseconds / SECOND_NS:.2f} s"


def _painted(text: str, colour: str, coloured: bool) -> str:
    return f"{colour}{text}{PLAIN}" if coloured and text else text
