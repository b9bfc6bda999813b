"""Secrets in spans: masked on the way out, in the thread that sends, by the rules of the logs."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status

from ..redact import Redactor

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


# Of these a caller chooses what is in them; the same ones come often.
CHOSEN = ("url.path", "url.full", "user_agent.original", "rpc.method", "http.url", "http.target")
HEADERS = ("http.request.header.", "http.response.header.")  # recorded if a variable names them
LONGEST_KEPT = 256  # characters of a text that is remembered


class Redaction:
    """Returns spans without secrets."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._kept = lru_cache(maxsize=1024)(redactor.text)

    def redacted(self, span: ReadableSpan) -> ReadableSpan:
        """Return `span` with its secrets masked."""
        status = span.status
        told = None if status.description is None else self._redactor.text(status.description)
        return ReadableSpan(
            name=self._text(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self._fields(span.attributes or {}),
            events=[self._event(event) for event in span.events],
            links=[Link(link.context, self._fields(link.attributes or {})) for link in span.links],
            kind=span.kind,
            status=Status(status.status_code, told),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _event(self, event: Event) -> Event:
        return Event(self._text(event.name), self._fields(event.attributes or {}), event.timestamp)

    def _fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        known = {
            key: fields[key]
            for key in fields
            if key.startswith(CONVENTIONAL) and not key.startswith(HEADERS)
        }
        chosen = {key: self._text(fields[key]) for key in CHOSEN if key in fields}
        if len(known) == len(fields):
            return {**known, **chosen}
        doubtful = {key: fields[key] for key in fields if key not in known}
        return {**known, **self._redactor.fields(doubtful), **chosen}

    def _text(self, text: str) -> str:
        return self._kept(text) if len(text) <= LONGEST_KEPT else self._redactor.text(text)
