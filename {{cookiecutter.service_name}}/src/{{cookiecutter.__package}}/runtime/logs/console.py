"""The sink that writes to the terminal, or to whatever collects the output of the process."""

import os
import select
import sys
import threading
from collections.abc import Callable, Sequence

from . import ecs, text
from .background import Background
from .line import Line
from .settings import ConsoleSink
from .sink import Sink

PIPE_BUF = 4096  # a pipe that is ready for writing takes as much at once (POSIX: at least 512)
BACKLOG_BYTES = 8 << 20


class Console(Sink):
    """Writes at once, so that a crash loses nothing; queues while the reader does not read."""

    outward = False

    def __init__(self, name: str, settings: ConsoleSink) -> None:
        super().__init__(name, settings)
        self._fd = os.dup(getattr(sys, f"__{settings.stream}__").fileno())
        self._form = _form(settings, os.isatty(self._fd))
        self._lock = threading.Lock()
        self._backlog = Background(name, self._write_all, BACKLOG_BYTES)

    def put(self, line: Line) -> None:
        data = self._form(line)
        with self._lock:
            if len(data) > PIPE_BUF or not self._backlog.idle or not self._ready():
                self._backlog.put(data)
            else:
                self._write(data)

    def flush(self, seconds: float) -> bool:
        return self._backlog.flush(seconds)

    def close(self) -> None:
        self._backlog.close()

    @property
    def dropped(self) -> int:
        return self._backlog.dropped

    @property
    def trouble(self) -> str:
        return self._backlog.trouble

    def _ready(self) -> bool:
        return bool(select.select((), (self._fd,), (), 0)[1])

    def _write(self, data: bytes) -> None:
        try:
            os.write(self._fd, data)
        except OSError:  # nobody reads any more: the queue counts what is lost
            self._backlog.put(data)

    def _write_all(self, batch: Sequence[bytes]) -> None:
        data = b"".join(batch)
        while data:
            data = data[os.write(self._fd, data) :]


def _form(settings: ConsoleSink, terminal: bool) -> Callable[[Line], bytes]:
    if settings.format == "json" or (settings.format == "auto" and not terminal):
        return ecs.as_json
    colour = "NO_COLOR" not in os.environ and (terminal or "FORCE_COLOR" in os.environ)
    return lambda line: text.as_text(line, colour)
