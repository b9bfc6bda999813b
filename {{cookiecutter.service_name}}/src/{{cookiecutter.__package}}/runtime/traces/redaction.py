"""Secrets in spans: masked on the way out, in the thread that sends, by the rules of the logs."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status

from ..logs.redact import Redactor

# OpenTelemetry's own attributes: what they hold is known to be harmless, and checking takes time.
CONVENTIONAL = (
    "client.",
    "code.",
    "error.",
    "http.",
    "network.",
    "rpc.",
    "server.",
    "url.",
    "user_",
)


class Redaction:
    """Returns spans without secrets."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def redacted(self, span: ReadableSpan) -> ReadableSpan:
        """Return `span` with its secrets masked."""
        status = span.status
        told = None if status.description is None else self._redactor.text(status.description)
        return ReadableSpan(
            name=span.name,
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self._fields(span.attributes or {}),
            events=[self._event(event) for event in span.events],
            links=span.links,
            kind=span.kind,
            status=Status(status.status_code, told),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _event(self, event: Event) -> Event:
        return Event(event.name, self._fields(event.attributes or {}), event.timestamp)

    def _fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        doubtful = {key: fields[key] for key in fields if not key.startswith(CONVENTIONAL)}
        return dict(fields) | (self._redactor.fields(doubtful) if doubtful else {})
