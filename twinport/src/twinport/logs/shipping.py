"""What waits to be shipped, in memory or on disk, until a collector has acknowledged it."""

import sqlite3
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from ..errors import StartupError
from .bounded_queue import MOST_AT_ONCE, Background, Losses, SinkThread


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


SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE IF NOT EXISTS lines (id INTEGER PRIMARY KEY AUTOINCREMENT, line BLOB NOT NULL);
BEGIN IMMEDIATE;
COMMIT;
"""


class DiskOutbox(Outbox):
    """Lines in an SQLite file, which the next process goes on with."""

    def __init__(self, name: str, folder: Path, limit_bytes: int, losses: Losses) -> None:
        super().__init__(losses)
        self._limit = limit_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                folder / f"{name}.sqlite3",
                timeout=0.5,
                isolation_level=None,
                check_same_thread=False,
            )
            self._database.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StartupError(f"logs.sinks.{name}.queue_dir: {folder}: {error}") from error
        count, size = "count(*)", "coalesce(sum(length(line)), 0)"
        self.waiting, self._held = self._database.execute(
            f"SELECT {count}, {size} FROM lines"
        ).fetchone()
        self._incoming = Background(f"{name}-queue", self._store, limit_bytes, losses)

    def put(self, data: bytes) -> None:
        self._incoming.put(data)

    def stored(self, seconds: float) -> bool:
        return self._incoming.flush(seconds)

    def first(self, most: int) -> Sequence[bytes]:
        query = "SELECT line FROM lines ORDER BY id LIMIT ?"
        with self._changed:
            return [line for (line,) in self._database.execute(query, (most,))]

    def forget(self, count: int) -> None:
        with self._changed:
            gone = self._database.execute(
                "DELETE FROM lines WHERE id IN (SELECT id FROM lines ORDER BY id LIMIT ?)"
                " RETURNING length(line)",
                (count,),
            ).fetchall()
            self._held -= sum(size for (size,) in gone)
            self.waiting -= len(gone)
            self._changed.notify_all()

    def close(self) -> None:
        super().close()
        self._incoming.close()
        with self._changed:
            self._database.close()

    def _store(self, batch: Sequence[bytes]) -> None:
        fitting = self._fitting(batch)
        with self._changed:
            self._database.execute("BEGIN")
            self._database.executemany("INSERT INTO lines (line) VALUES (?)", fitting)
            self._database.execute("COMMIT")
            self._held += sum(len(line) for (line,) in fitting)
            self.waiting += len(fitting)
            self._changed.notify_all()
        if len(fitting) < len(batch):
            self._losses.add(len(batch) - len(fitting), "the queue on disk is full")

    def _fitting(self, batch: Sequence[bytes]) -> Sequence[tuple[bytes]]:
        fitting, room = [], self._limit - self._held
        for line in batch:
            room -= len(line)
            if room < 0:
                break
            fitting.append((line,))
        return fitting


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
