"""What waits to be shipped, on disk: a kill of the process does not lose it."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from ..errors import StartupError
from .background import Background, Losses
from .outbox import Outbox

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
