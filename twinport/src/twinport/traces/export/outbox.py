"""Spans on their way out: a bounded queue and one thread, which no call ever waits for."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from ..redaction import Redaction
from .report import Report

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
