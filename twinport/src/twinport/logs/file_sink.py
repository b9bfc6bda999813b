"""The file sink, with rotation by size and age, compression and retention."""

import gzip
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..errors import StartupError
from .bounded_queue import Background, SinkThread
from .formats import as_json, plain
from .settings import FileSink
from .sinks import Sink

STAMP = "%Y-%m-%dT%H-%M-%S.%f"  # no colons: Windows, and whoever copies the files there


class RotatingFile:
    """Appends to one path; a file that somebody moved away is begun again."""

    def __init__(self, name: str, settings: FileSink) -> None:
        self._path, self._settings = settings.path, settings
        self._tidying = threading.Lock()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            reason = error.strerror or error
            raise StartupError(f"logs.sinks.{name}.path: {self._path}: {reason}") from error
        self._period = self._period_of(os.fstat(self._fd).st_mtime)
        SinkThread(f"{name}-tidy", self._tidy).start()

    def write(self, batch: Sequence[bytes]) -> None:
        """Append the lines; raises OSError."""
        data = b"".join(batch)
        self._turn_if_due(len(data))
        self._size += len(data)
        while data:
            data = data[os.write(self._fd, data) :]

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._size = os.fstat(self._fd).st_size

    def _open_anew(self) -> None:
        old = self._fd
        self._open()
        os.close(old)  # only now: the number of a closed file may be somebody else's

    def _period_of(self, moment_s: float) -> int:
        return int(moment_s // self._settings.rotate_every.total_seconds())

    def _turn_if_due(self, more: int) -> None:
        period = self._period_of(time.time())
        too_large = self._size + more > self._settings.rotate_size
        if self._size and (too_large or period != self._period):
            self._turn()
        elif not self._is_ours():
            self._open_anew()
        self._period = period

    def _is_ours(self) -> bool:
        with suppress(OSError):
            return os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        return False

    def _turn(self) -> None:
        stamp = datetime.now(UTC).strftime(STAMP)
        aside = self._path.with_name(f"{self._path.stem}.{stamp}{self._path.suffix}")
        with suppress(FileNotFoundError):
            self._path.rename(aside)
        self._open_anew()
        SinkThread(f"{self._path.name}-tidy", self._tidy).start()

    def _tidy(self) -> None:
        with self._tidying:
            for file, turned in self._aside():
                self._put_in_order(file, turned)

    def _put_in_order(self, file: Path, turned: datetime) -> None:
        with suppress(OSError):  # tried again the next time
            self._delete_or_compress(file, turned)

    def _delete_or_compress(self, file: Path, turned: datetime) -> None:
        if turned < datetime.now(UTC) - timedelta(days=self._settings.keep_days):
            file.unlink()
        elif self._settings.compress and file.suffix != ".gz":
            _compress(file)

    def _aside(self) -> Iterator[tuple[Path, datetime]]:
        """Yield the files set aside, each with the time of its last line."""
        stem, suffix = re.escape(self._path.stem), re.escape(self._path.suffix)
        ours = re.compile(rf"{stem}\.(\d{{4}}-\d\d-\d\dT[\d.-]+){suffix}(\.gz)?")
        for file in list(self._path.parent.iterdir()):
            named = ours.fullmatch(file.name)
            if named:
                yield file, datetime.strptime(named[1], STAMP).replace(tzinfo=UTC)


def _compress(file: Path) -> None:
    half_done = file.with_name(f"{file.name}.gz.part")
    with file.open("rb") as plain, gzip.open(half_done, "wb", compresslevel=6) as packed:
        shutil.copyfileobj(plain, packed, 1 << 16)
    half_done.replace(file.with_name(f"{file.name}.gz"))
    file.unlink()


class File(Sink):
    """A file with the older ones beside it; raises StartupError if it cannot be written."""

    outward = False

    def __init__(self, name: str, settings: FileSink, alarm: threading.Event) -> None:
        super().__init__(name, settings, alarm, as_json if settings.format == "json" else plain)
        self._file = RotatingFile(name, settings)
        self._background = Background(name, self._file.write, settings.queue_size, self.losses)

    def put(self, data: bytes) -> None:
        self._background.put(data)

    def flush(self, seconds: float) -> bool:
        return self._background.flush(seconds)

    def close(self) -> None:
        if self._background.waiting:
            self.losses.add(self._background.waiting, "the file was too slow at the end")
        self._background.close()
