"""The export of spans: their redaction, and the bounded queue from which they are sent."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.trace import Link, Status

from ..logs.bounded_queue import BoundedQueue, Bounds, Losses, QuietThread
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
        why = None if status.description is None else self._redactor.text(status.description)
        return ReadableSpan(
            name=self._text(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self._fields(span.attributes or {}),
            events=[self._event(event) for event in span.events],
            links=[Link(link.context, self._fields(link.attributes or {})) for link in span.links],
            kind=span.kind,
            status=Status(status.status_code, why),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _event(self, event: Event) -> Event:
        return Event(self._text(event.name), self._fields(event.attributes or {}), event.timestamp)

    def _fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        harmless = {
            key: fields[key]
            for key in fields
            if key.startswith(CONVENTIONAL) and not key.startswith(HEADERS)
        }
        chosen = {key: self._text(fields[key]) for key in CHOSEN if key in fields}
        if len(harmless) == len(fields):
            return {**harmless, **chosen}
        others = {key: fields[key] for key in fields if key not in harmless}
        return {**harmless, **self._redactor.fields(others), **chosen}

    def _text(self, text: str) -> str:
        return self._kept(text) if len(text) <= LONGEST_KEPT else self._redactor.text(text)


class Backend(Protocol):
    """What takes spans."""

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        """Return when they are taken; raises UndeliveredError."""

    def close(self) -> None:
        """Give back what is open."""


class SpanQueue(BoundedQueue[ReadableSpan], SpanProcessor):
    """Takes every span that has ended; a full queue drops its oldest."""

    thread = QuietThread  # what is said of losses goes to every sink of the log

    def __init__(
        self, backend: Backend, losses: Losses, redaction: Redaction, bounds: Bounds
    ) -> None:
        self._backend, self._redaction = backend, redaction
        self._done: Callable[[], None] = lambda: None
        super().__init__("traces", self._export, bounds, losses, None)
        self.at_end = self._end

    @property
    def lost(self) -> int:
        """Return how many spans nobody will ever see."""
        return self._losses.dropped

    def on_end(self, span: ReadableSpan) -> None:
        self.put(span)

    def close(self, seconds: float = 0.0, done: Callable[[], None] = lambda: None) -> None:
        """Begin to send what is left, for at most `seconds`; `done` is called from the thread."""
        self._done = done
        super().close(seconds)

    def give_up(self) -> None:
        """Count what is still here as lost, also what a backend has and does not answer."""
        self._losses.close(self.waiting)

    def shutdown(self) -> None:
        self.close()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Refuse: whoever waited here would wait for the backend."""
        return False

    def _export(self, batch: Sequence[ReadableSpan]) -> None:
        self._backend.send([self._redaction.redacted(span) for span in batch])

    def _overflow(self) -> ReadableSpan:
        return self._items.popleft()

    def _end(self) -> None:
        self._backend.close()
        self.give_up()
        self._done()
