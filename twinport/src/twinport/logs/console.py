"""The sink that writes to the terminal, or to whatever collects the output of the process."""

import os
import select
import stat
import sys
import threading
from collections.abc import Sequence

from .background import Background
from .ecs import as_json
from .kinds import ConsoleSink
from .sink import Form, Sink
from .text import coloured, plain

PIPE_BUF = 4096  # a pipe that is ready for writing takes as much at once (POSIX: at least 512)


class Console(Sink):
    """Writes at once, so that a crash loses nothing; queues while the reader does not read."""

    outward = False

    def __init__(self, name: str, settings: ConsoleSink, alarm: threading.Event) -> None:
        self._fd = os.dup(getattr(sys, f"__{settings.stream}__").fileno())
        super().__init__(name, settings, alarm, _form(settings, os.isatty(self._fd)))
        self._is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        self._lock = threading.Lock()
        self._backlog = Background(name, self._write_all, settings.queue_size, self.losses)

    def put(self, data: bytes) -> None:
        with self._lock:
            if self._backlog.waiting or not (self._is_file or self._has_room(len(data))):
                self._backlog.put(data)
                return
            try:
                os.write(self._fd, data)
            except OSError as error:  # nobody reads any more
                self.losses.add(1, str(error))

    def flush(self, seconds: float) -> bool:
        return self._backlog.flush(seconds)

    def close(self) -> None:
        self._backlog.close()

    def _has_room(self, size: int) -> bool:
        """Return whether writing to a pipe would not wait."""
        return size <= PIPE_BUF and bool(self._poll.poll(0))

    def _write_all(self, batch: Sequence[bytes]) -> None:
        data = b"".join(batch)
        while data:
            data = data[os.write(self._fd, data) :]


def _form(settings: ConsoleSink, terminal: bool) -> Form:
    if settings.format == "json" or (settings.format == "auto" and not terminal):
        return as_json
    colour = "NO_COLOR" not in os.environ and (terminal or "FORCE_COLOR" in os.environ)
    return coloured if colour else plain
