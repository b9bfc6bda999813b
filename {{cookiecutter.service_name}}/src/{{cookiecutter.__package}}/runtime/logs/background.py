"""A thread with a bounded queue in front of it, so that what is slow holds no request."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

MOST_AT_ONCE = 500


class Background:
    """Hands what is put to `deliver`, in order, in a daemon thread of its own.

    What does not fit into `limit_bytes`, or what `deliver` raises on, is dropped and counted.
    """

    def __init__(
        self, name: str, deliver: Callable[[Sequence[bytes]], None], limit_bytes: int
    ) -> None:
        self._deliver, self._limit = deliver, limit_bytes
        self._waiting: deque[bytes] = deque()
        self._held = 0  # bytes, with those under way
        self._changed = threading.Condition()
        self._closing = False
        self.dropped = 0
        self.trouble = ""
        self._thread = threading.Thread(target=self._run, name=f"logs-{name}", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return self._held == 0

    def put(self, data: bytes) -> None:
        """Queue one line, or drop it; never waits."""
        with self._changed:
            if self._held + len(data) > self._limit:
                self.dropped += 1
                self.trouble = self.trouble or "its queue is full"
                return
            self._waiting.append(data)
            self._held += len(data)
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until all is delivered; False if it took longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self._held == 0, seconds)

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
                self.dropped += len(batch)
                self.trouble = f"{type(error).__name__}: {error}"
            self._done(batch)

    def _take(self) -> Sequence[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._closing)
            count = min(len(self._waiting), MOST_AT_ONCE)
            return [self._waiting.popleft() for _ in range(count)]

    def _done(self, batch: Sequence[bytes]) -> None:
        with self._changed:
            self._held -= sum(map(len, batch))
            self._changed.notify_all()


def remaining(deadline: float) -> float:
    """Return the seconds until `deadline`, a time of `time.monotonic`; never below 0."""
    return max(0.0, deadline - time.monotonic())
