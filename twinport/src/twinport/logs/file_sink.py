"""The file sink, with rotation by size and age, compression and retention.

Not loguru's own: it compresses where it writes, and its queue is a pipe that a slow disk fills. Not
the handlers of the standard library: they rotate either by size or by time, and keep no days.
"""

import gzip
import os
import re
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..errors import StartupError
from .bounded_queue import Losses, SinkThread
from .formats import as_json, plain
from .settings import FileSink
from .sinks import Sink

STAMP = "%Y-%m-%dT%H-%M-%S.%f"  # no colons: Windows, and whoever copies the files there


class File(Sink):
    """Appends to one path; older files lie beside it, one that somebody moved is begun again.

    Raises StartupError if it cannot be written.
    """

    outward = False

    def __init__(self, name: str, settings: FileSink, losses: Losses) -> None:
        super().__init__(name, settings, losses, as_json if settings.format == "json" else plain)
        self._path, self._settings = settings.path, settings
        self._is_tidying = threading.Lock()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            reason = error.strerror or error
            raise StartupError(f"logs.sinks.{name}.path: {self._path}: {reason}") from error
        self._period = self._period_of(os.fstat(self._fd).st_mtime)
        SinkThread(f"logs-{name}-tidy", self._tidy).start()
        self.queue = self._queue(self._write, settings.queue_size)
        self.queue.at_end = lambda: os.close(self._fd)

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._size = os.fstat(self._fd).st_size

    def _open_again(self) -> None:
        old = self._fd
        self._open()
        os.close(old)  # only now: the number of a closed file may be somebody else's

    def _period_of(self, moment_s: float) -> int:
        return int(moment_s // self._settings.rotate_every.total_seconds())

    def _write(self, batch: Sequence[bytes]) -> None:
        """Append the lines; raises OSError."""
        data = b"".join(batch)
        self._rotate_if_due(len(data))
        self._size += len(data)
        while data:
            data = data[os.write(self._fd, data) :]

    def _rotate_if_due(self, more: int) -> None:
        period = self._period_of(time.time())
        too_large = self._size + more > self._settings.rotate_size
        if self._size and (too_large or period != self._period):
            self._rotate()
        elif not self._is_in_place():
            self._open_again()
        self._period = period

    def _is_in_place(self) -> bool:
        with suppress(OSError):
            return os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        return False

    def _rotate(self) -> None:
        stamp = datetime.now(UTC).strftime(STAMP)
        with suppress(FileNotFoundError):
            self._path.rename(self._path.with_name(f"{self._path.stem}.{stamp}{self._path.suffix}"))
        self._open_again()
        SinkThread(f"logs-{self.name}-tidy", self._tidy).start()

    def _tidy(self) -> None:
        """Compress and delete older files; each is named after the time of its last line."""
        stem, suffix = re.escape(self._path.stem), re.escape(self._path.suffix)
        ours = re.compile(rf"{stem}\.(\d{{4}}-\d\d-\d\dT[\d.-]+){suffix}(\.gz)?")
        with self._is_tidying:
            matches = (ours.fullmatch(name) for name in os.listdir(self._path.parent))
            for match in filter(None, matches):
                self._delete_or_compress(self._path.with_name(match[0]), match[1])

    def _delete_or_compress(self, file: Path, stamp: str) -> None:
        with suppress(OSError, ValueError):  # tried again the next time; no time of ours
            last_line = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
            if last_line < datetime.now(UTC) - timedelta(days=self._settings.keep_days):
                file.unlink()
            elif self._settings.compress and file.suffix != ".gz":
                _compress(file)


def _compress(file: Path) -> None:
    half_done = file.with_name(f"{file.name}.gz.part")
    with file.open("rb") as plain, gzip.open(half_done, "wb", compresslevel=6) as packed:
        shutil.copyfileobj(plain, packed, 1 << 16)
    half_done.replace(file.with_name(f"{file.name}.gz"))
    file.unlink()
