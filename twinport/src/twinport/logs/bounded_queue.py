"""A bounded queue, sent in batches by a thread of its own, and the report of what it has lost.

What is slow or away holds no request. Sinks of the log use it, and the export of spans.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from opentelemetry.instrumentation.utils import suppress_instrumentation

Item = TypeVar("Item")


class QuietThread(threading.Thread):
    """A daemon thread; no client library leaves spans of what it sends there."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work

    def run(self) -> None:
        with suppress_instrumentation():
            self._work()


class SinkThread(QuietThread):
    """A thread of a sink: what is logged in it goes to no sink that logs while it sends."""


REPORT_EVERY_S = 60.0


class Losses:
    """Counts what is dropped on the way to one place, and reports it: at once, then once a minute.

    `say` is called in a thread that is there only while there may be something to report. With a
    `hint`, which may name the {reason}, that is the only line while nobody is there to answer.
    """

    def __init__(
        self, room: str, unit: str, place: str, say: Callable[[str], None], hint: str = ""
    ) -> None:
        self._room, self._unit, self._place = room, unit, place
        self._say, self._hint = say, hint
        self._lock = threading.RLock()  # a finaliser may log within
        self._closed = threading.Event()
        self._is_reporting = False
        self._reported, self._waiting, self._reason = 0, 0, ""
        self.dropped = 0

    def add(self, dropped: int, reason: str, waiting: int = 0) -> None:
        """Count what is lost, 0 if all may still arrive; an empty `reason` leaves the last one."""
        with self._lock:
            self.dropped += dropped
            self._waiting, self._reason = waiting, reason or self._reason
            if dropped and reason:
                self._forget_hint()
            if self._is_reporting or self._closed.is_set():
                return
            self._is_reporting = True
        try:
            QuietThread(f"{self._room}-losses", self._report).start()
        except RuntimeError:  # there are too many threads: the next loss tries again
            self._is_reporting = False

    def recover(self) -> None:
        """Forget the reason: something has arrived."""
        with self._lock:
            self._reason = ""
            self._forget_hint()

    def _forget_hint(self) -> None:
        """Report as usual from now on: somebody is there, and takes or refuses."""
        if self._hint:
            self._hint, self._is_reporting = "", False

    def close(self, waiting: int) -> None:
        """Say, as the last thing, what is lost with those that still wait."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            self.dropped += waiting
            lost = self.dropped - self._reported
        if lost and not self._hint:
            self._say(f"{self._room}: {lost} {self._unit} did not reach {self._place}")

    def _report(self) -> None:
        if hint := self._hint:
            self._say(hint.replace("{reason}", self._reason))
            return
        while text := self._news():
            self._say(text)
            self._closed.wait(REPORT_EVERY_S)

    def _news(self) -> str:
        """Return what has happened since the last report; empty if nothing, which ends them."""
        with self._lock:
            dropped, reason = self.dropped - self._reported, self._reason
            self._is_reporting = bool(dropped or reason) and not self._closed.is_set()
            if not self._is_reporting:
                return ""
            self._reported, self._reason = self.dropped, ""
            counts = f"{dropped} {self._unit} dropped, {self._waiting} waiting"
        return f"{self._room}: {self._place}: {reason or 'more than it takes'}; {counts}"


class Then(Enum):
    """What becomes of a batch that was not taken."""

    RETRY = auto()
    SPLIT = auto()  # it is halved until it fits: it is too large, or some are refused for good
    DROP = auto()


class UndeliveredError(Exception):
    """Nobody took a batch, for a reason in a few words."""

    def __init__(self, reason: str, then: Then) -> None:
        super().__init__(reason)
        self.then = then


class Bounds(NamedTuple):
    """How much waits at most, how many items leave together, and how long one waits for others."""

    limit: int
    batch: int = 512
    delay_s: float = 0.0


FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


class BoundedQueue(Generic[Item]):
    """Hands what is put to `send`, in order and in batches, in a thread of its own.

    What does not fit, or what `send` raises on, is dropped and counted, unless it raises an
    UndeliveredError that says otherwise. `size` is what an item takes of the limit, None means 1.
    """

    thread: ClassVar[type[QuietThread]] = SinkThread

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[Item]], None],
        bounds: Bounds,
        losses: Losses,
        size: Callable[[Any], int] | None = len,
    ) -> None:
        self._send, self._losses, self._size = send, losses, size
        self._limit, self._batch, self._delay_s = bounds
        self._items: deque[Item] = deque()
        self._held = 0  # of the limit, with those under way
        self.waiting = 0  # items, with those under way
        self._lock = threading.RLock()  # a finaliser may log within
        self._changed = threading.Condition(self._lock)
        self._wakes = {1, bounds.batch}  # how many have to wait for the thread to look
        self._is_urgent = False
        self._give_up_at = float("inf")  # once it is closed
        self._is_last_round = False
        self._failures, self._pause_s = 0, FIRST_PAUSE_S
        self._suspects, self._most = 0, bounds.batch  # left of a batch to split; as many at once
        self.at_end: Callable[[], None] = lambda: None  # called by the thread
        self.thread(name, self._run).start()

    def put(self, item: Item) -> None:
        """Queue one item, or drop one; never waits."""
        size = 1 if self._size is None else self._size(item)
        with self._lock:
            self._items.append(item)
            self._held += size
            self.waiting = waiting = self.waiting + 1
            is_full = self._held > self._limit
            if is_full:
                self._count_out([self._overflow()])
            if waiting in self._wakes:
                self._changed.notify_all()
        if is_full:
            self._losses.add(1, "", self.waiting)

    def flush(self, seconds: float) -> bool:
        """Wait until all is delivered; False if an attempt fails or it takes longer."""
        with self._changed:
            failures, self._is_urgent = self._failures, True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self.waiting or self._failures > failures, seconds)
            return not self.waiting

    def close(self, seconds: float = 0.0) -> None:
        """End the thread, once all is delivered or after `seconds`; does not wait for it."""
        with self._changed:
            self._give_up_at = time.monotonic() + seconds
            self._changed.notify_all()

    def unsaved(self) -> int:
        """Return how many items would be lost with the process."""
        return self.waiting

    def _overflow(self) -> Item:
        """Take out the item that a full queue drops."""
        return self._items.pop()

    def _take(self, most: int) -> Sequence[Item]:
        with self._lock:
            return [self._items.popleft() for _ in range(min(most, len(self._items)))]

    def _put_back(self, batch: Sequence[Item]) -> None:
        with self._lock:
            self._items.extendleft(reversed(batch))

    def _remove(self, batch: Sequence[Item]) -> None:
        """Forget those that were taken: they have arrived, or never will."""
        with self._lock:
            self._count_out(batch)

    def _count_out(self, batch: Sequence[Item]) -> None:
        self._held -= len(batch) if self._size is None else sum(map(self._size, batch))
        self.waiting -= len(batch)
        self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            try:
                self._deliver(self._take(min(self._suspects, self._most) or self._batch))
            except Exception as error:  # a disk that the items are on
                self._pause(f"{type(error).__name__}: {error}")
        self.at_end()

    def _wait(self) -> bool:
        """Wait for a batch, or for less if there is a hurry; False if it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.waiting or self._is_closed())
            if self._delay_s:
                self._changed.wait_for(self._is_due, self._delay_s)
            self._is_urgent, self._is_last_round = False, self._is_closed()
            return bool(self.waiting) and time.monotonic() < self._give_up_at

    def _is_closed(self) -> bool:
        return self._give_up_at < float("inf")

    def _is_due(self) -> bool:
        return self._is_urgent or self._is_closed() or self.waiting >= self._batch

    def _deliver(self, batch: Sequence[Item]) -> None:
        try:
            self._send(batch)
        except UndeliveredError as error:
            self._undelivered(batch, str(error), error.then)
        except Exception as error:  # what is broken costs this batch, nothing else
            self._drop(batch, f"{type(error).__name__}: {error}")
        else:
            self._settle(batch)
            self._losses.recover()

    def _undelivered(self, batch: Sequence[Item], reason: str, then: Then) -> None:
        if then is Then.DROP or (then is Then.SPLIT and len(batch) == 1):
            self._drop(batch, reason)
            return
        self._put_back(batch)
        if then is Then.SPLIT:
            self._suspects = max(self._suspects, len(batch))
            self._most = len(batch) // 2
        else:
            self._pause(reason)

    def _drop(self, batch: Sequence[Item], reason: str) -> None:
        self._settle(batch)
        self._losses.add(len(batch), reason, self.waiting)

    def _settle(self, batch: Sequence[Item]) -> None:
        self._remove(batch)
        self._pause_s = FIRST_PAUSE_S
        self._suspects = max(0, self._suspects - len(batch))
        self._most = min(2 * self._most, self._batch)

    def _pause(self, reason: str) -> None:
        self._losses.add(0, reason, self.waiting)
        with self._changed:
            self._failures += 1
            self._changed.notify_all()
            if self._is_last_round:
                self._give_up_at = 0.0
            self._changed.wait_for(lambda: self._is_urgent or self._is_closed(), self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
