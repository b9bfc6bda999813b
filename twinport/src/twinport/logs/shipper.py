"""Sends what waits in an outbox, again and again until the other side has taken it."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

from .background import MOST_AT_ONCE, Losses, SinkThread
from .outbox import Outbox

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


class RefusedError(Exception):
    """The other side will never take these lines, however often they are sent."""


class Transport(ABC):
    """A way to the other side."""

    @abstractmethod
    def send(self, batch: Sequence[bytes]) -> None:
        """Return when the lines are taken; raises OSError if not now, RefusedError if never."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is open, before the next attempt or for good."""


class Shipper:
    """A thread that empties an outbox."""

    def __init__(self, name: str, outbox: Outbox, transport: Transport, losses: Losses) -> None:
        self._outbox, self._transport, self._losses = outbox, transport, losses
        self._hurry = threading.Event()
        self._tried = threading.Condition()
        self._failures = 0  # all
        self._in_a_row = 0
        self._singly = 0  # lines to send one by one, as some of them were refused
        SinkThread(name, self._run).start()

    def flush(self, seconds: float) -> bool:
        """Wait until the outbox is empty; False if an attempt fails or it takes longer."""
        self._hurry.set()
        with self._tried:
            before = self._failures
            self._tried.wait_for(
                lambda: self._outbox.waiting == 0 or self._failures > before, seconds
            )
        return self._outbox.waiting == 0

    def _run(self) -> None:
        while self._outbox.wait():
            try:
                self._send(self._outbox.first(1 if self._singly else MOST_AT_ONCE))
            except Exception as error:  # whatever it was, a disk too, the lines are still there
                self._failed(error)
        self._transport.close()

    def _send(self, batch: Sequence[bytes]) -> None:
        try:
            self._transport.send(batch)
        except RefusedError as error:
            self._refused(batch, error)
        else:
            self._taken(batch)

    def _taken(self, batch: Sequence[bytes]) -> None:
        self._outbox.forget(len(batch))
        self._in_a_row = 0
        self._singly = max(0, self._singly - len(batch))
        with self._tried:
            self._tried.notify_all()

    def _refused(self, batch: Sequence[bytes], error: Exception) -> None:
        if len(batch) == 1:
            self._losses.add(1, str(error))
            self._taken(batch)
        else:
            self._singly = len(batch)

    def _failed(self, error: Exception) -> None:
        self._transport.close()
        self._losses.add(0, f"{self._outbox.waiting} lines wait: {type(error).__name__}: {error}")
        with self._tried:
            self._failures += 1
            self._tried.notify_all()
        self._hurry.wait(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._in_a_row))
        self._hurry.clear()
        self._in_a_row += 1
