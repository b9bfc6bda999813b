"""A bounded queue with a thread behind it, so that what is slow holds no request."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from opentelemetry.instrumentation.utils import suppress_instrumentation

MOST_AT_ONCE = 500


class SinkThread(threading.Thread):
    """A daemon thread of a sink; no client library leaves spans of what it sends."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        super().__init__(name=f"logs-{name}", daemon=True)
        self._work = work

    def run(self) -> None:
        with suppress_instrumentation():
            self._work()


class Losses:
    """What a sink has lost and why; `alarm` is set so that somebody says it."""

    def __init__(self, alarm: threading.Event) -> None:
        self._alarm = alarm
        self._lock = threading.Lock()
        self._said = 0
        self._reason = ""
        self.dropped = 0

    def add(self, dropped: int, reason: str) -> None:
        """Count lines that are lost; 0 if they may still arrive."""
        with self._lock:
            self.dropped += dropped
            self._reason = reason
        self._alarm.set()

    def news(self) -> str:
        """Return what has happened since the last time, for people; empty if nothing."""
        with self._lock:
            lines, reason = self.dropped - self._said, self._reason
            self._said, self._reason = self.dropped, ""
        if lines:
            return f"{lines} lines dropped: {reason or 'see before'}"
        return reason


class Background:
    """Hands what is put to `deliver`, in order, in a thread of its own.

    What does not fit into `limit_bytes`, or what `deliver` raises on, is lost and counted.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[Sequence[bytes]], None],
        limit_bytes: int,
        losses: Losses,
    ) -> None:
        self._deliver, self._limit, self._losses = deliver, limit_bytes, losses
        self._queue: deque[bytes] = deque()
        self._held = 0  # bytes, with those under way
        self._changed = threading.Condition()
        self._closing = False
        self.waiting = 0  # lines, with those under way
        SinkThread(name, self._run).start()

    def put(self, data: bytes) -> None:
        """Queue one line, or drop it; never waits."""
        with self._changed:
            fits = self._held + len(data) <= self._limit
            if fits:
                self._queue.append(data)
                self._held += len(data)
                self.waiting += 1
                self._changed.notify_all()
        if not fits:
            self._losses.add(1, "the queue is full")

    def flush(self, seconds: float) -> bool:
        """Wait until all is delivered; False if it took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self.waiting == 0, seconds)

    def close(self) -> None:
        """Let the thread end once it has nothing left to do; does not wait for it."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _run(self) -> None:
        while batch := self._take():
            try:
                self._deliver(batch)
            except Exception as error:  # a broken sink costs its own lines, nothing else
                self._losses.add(len(batch), f"{type(error).__name__}: {error}")
            self._done(batch)

    def _take(self) -> Sequence[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._queue) or self._closing)
            count = min(len(self._queue), MOST_AT_ONCE)
            return [self._queue.popleft() for _ in range(count)]

    def _done(self, batch: Sequence[bytes]) -> None:
        with self._changed:
            self._held -= sum(map(len, batch))
            self.waiting -= len(batch)
            self._changed.notify_all()


def remaining(deadline: float) -> float:
    """Return the seconds until `deadline`, a time of `time.monotonic`; never below 0."""
    return max(0.0, deadline - time.monotonic())
