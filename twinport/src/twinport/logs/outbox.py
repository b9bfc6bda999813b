"""What waits to be shipped until the other side has acknowledged it."""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from itertools import islice

from .background import Losses


class Outbox(ABC):
    """Lines in order; the first ones stay until they are forgotten."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._changed = threading.Condition()
        self._closing = False
        self.waiting = 0

    @abstractmethod
    def put(self, data: bytes) -> None:
        """Take one line, or drop and count it; never waits."""

    @abstractmethod
    def first(self, most: int) -> Sequence[bytes]:
        """Return up to `most` of the first lines."""

    @abstractmethod
    def forget(self, count: int) -> None:
        """Drop the first lines: they have arrived, or never will."""

    def stored(self, seconds: float) -> bool:
        """Return whether what was put outlives this process, within that time."""
        return self.waiting == 0

    def wait(self) -> bool:
        """Wait for a line; False if there are none and will be none."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self.waiting) or self._closing)
            return not self._closing

    def close(self) -> None:
        """End the waiting."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()


class MemoryOutbox(Outbox):
    """Lines that a dying process takes with it."""

    def __init__(self, limit_bytes: int, losses: Losses) -> None:
        super().__init__(losses)
        self._limit, self._held = limit_bytes, 0
        self._lines: deque[bytes] = deque()

    def put(self, data: bytes) -> None:
        with self._changed:
            fits = self._held + len(data) <= self._limit
            if fits:
                self._lines.append(data)
                self._held += len(data)
                self.waiting += 1
                self._changed.notify_all()
        if not fits:
            self._losses.add(1, "the queue is full")

    def first(self, most: int) -> Sequence[bytes]:
        with self._changed:
            return list(islice(self._lines, most))

    def forget(self, count: int) -> None:
        with self._changed:
            self._held -= sum(len(self._lines.popleft()) for _ in range(count))
            self.waiting -= count
            self._changed.notify_all()

    def close(self) -> None:
        super().close()
        if self.waiting:
            self._losses.add(self.waiting, "not taken before the end of the process")
