"""Spans on their way out: redacted, a bounded queue, one thread, and the report of losses."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from loguru import logger
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
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


EVERY_S = 60.0


class Report:
    """Counts and says; with a `hint`, which may name the {reason}, that is the only line ever."""

    def __init__(self, backend: str, hint: str = "") -> None:
        self._backend, self._hint = backend, hint
        self._told, self._waiting, self._reason = 0, 0, ""
        self._has_ended = False
        self.lost = 0
        self._lock = threading.Lock()  # calls drop, and so does the thread that sends
        self._next = 0.0

    def dropped(self, count: int) -> None:
        """Count spans that nobody will ever see."""
        with self._lock:
            self.lost += count

    def failed(self, reason: str, waiting: int) -> None:
        """Note why the last attempt failed, and how many spans wait for the next one."""
        self._reason, self._waiting = reason, waiting
        self.say()

    def delivered(self) -> None:
        """Note that the backend is there."""
        self._reason, self._waiting = "", 0

    def say(self) -> None:
        """Say what there is to say, unless something was said within the last minute."""
        dropped = self.lost - self._told
        if (dropped or self._reason) and time.monotonic() >= self._next:
            self._next = float("inf") if self._hint else time.monotonic() + EVERY_S
            self._told += dropped
            logger.warning("{}", self._line(dropped))

    def ended(self, lost: int) -> None:
        """Say, as the last thing, what is lost in all, with what still waited in the end."""
        news = lost - self._told
        is_news = news and not self._hint and not self._has_ended
        self._has_ended = True
        if is_news:
            logger.warning("traces: {} spans did not reach {}", news, self._backend)

    def _line(self, dropped: int) -> str:
        if self._hint:
            return self._hint.replace("{reason}", self._reason)
        why = self._reason or "more spans than it takes"
        counts = f"{dropped} spans dropped, {self._waiting} waiting"
        return f"traces: {self._backend}: {why}; {counts}"


PAUSE_S = 3.0  # between two attempts while nobody takes the spans


class UndeliveredError(Exception):
    """Nobody took the spans; `again` tells whether the same ones may be taken later."""

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.again = again


class Exporting(Protocol):
    """What takes spans; raises UndeliveredError."""

    def send(self, spans: Sequence[ReadableSpan]) -> None: ...

    def close(self) -> None: ...


class Bounds(NamedTuple):
    """How many spans wait at most, how many leave together, and how long one waits for company."""

    queue: int = 2048
    batch: int = 512
    delay_s: float = 1.0


class Way(NamedTuple):
    """What takes the spans, and what hears when it does not."""

    exporting: Exporting
    report: Report


class Outbox(SpanProcessor):
    """Takes every span that has ended; a full queue drops its oldest."""

    def __init__(self, way: Way, redaction: Redaction, bounds: Bounds) -> None:
        self._exporting, self._report = way
        self._redaction, self._bounds = redaction, bounds
        self._queue: deque[ReadableSpan] = deque()
        self._lock = threading.Lock()  # each span is in the queue, under way or lost, never two
        self._wake, self._closing = threading.Event(), threading.Event()
        self._give_up_at, self._under_way = float("inf"), 0
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Return how many spans nobody will ever see."""
        return self._report.lost

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            self._queue.append(span)
            self._drop_overflow()
        if len(self._queue) >= self._bounds.batch:
            self._wake.set()

    def close(self, seconds: float, done: Callable[[], None] = lambda: None) -> None:
        """Begin to send what is left, for at most `seconds`; `done` is called from the thread."""
        self._done = done
        self._give_up_at = time.monotonic() + seconds
        self._closing.set()
        self._wake.set()

    def give_up(self) -> None:
        """Count what is still here as lost, also what a backend has and does not answer."""
        with self._lock:
            lost = self._report.lost + len(self._queue) + self._under_way
        self._report.ended(lost)

    def shutdown(self) -> None:
        self.close(0)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Refuse: whoever waited here would wait for the backend."""
        return False

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(self._bounds.delay_s)
            self._wake.clear()
            if not self._send_all():
                self._closing.wait(PAUSE_S)
        self._send_all()
        self._exporting.close()
        self.give_up()
        self._done()

    def _send_all(self) -> bool:
        """Send until the queue is empty; False when nobody takes what is in it."""
        while self._queue and time.monotonic() < self._give_up_at:
            if not self._send(self._take()):
                return False
        self._report.say()
        return True

    def _send(self, batch: list[ReadableSpan]) -> bool:
        """Return whether to go on with the next ones."""
        try:
            self._exporting.send([self._redaction.redacted(span) for span in batch])
        except UndeliveredError as error:
            return self._failed(batch, str(error), again=error.again)
        except Exception as error:  # one odd span must not end the thread that sends all others
            return self._failed(batch, f"{type(error).__name__}: {error}", again=False)
        self._under_way = 0
        self._report.delivered()
        return True

    def _failed(self, batch: list[ReadableSpan], reason: str, *, again: bool) -> bool:
        with self._lock:
            self._under_way = 0
            if again:
                self._queue.extendleft(reversed(batch))
                self._drop_overflow()
            else:
                self._report.dropped(len(batch))
        self._report.failed(reason, len(self._queue))
        return not again

    def _take(self) -> list[ReadableSpan]:
        with self._lock:
            self._under_way = min(self._bounds.batch, len(self._queue))
            return [self._queue.popleft() for _ in range(self._under_way)]

    def _drop_overflow(self) -> None:
        while len(self._queue) > self._bounds.queue:
            self._queue.popleft()
            self._report.dropped(1)
