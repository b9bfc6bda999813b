"""What waits to be shipped, in memory or on disk, until the other side has acknowledged it."""

import sqlite3
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from ..errors import StartupError
from .background import Background, Losses

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE IF NOT EXISTS lines (id INTEGER PRIMARY KEY AUTOINCREMENT, line BLOB NOT NULL);
BEGIN IMMEDIATE;
COMMIT;
"""


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
