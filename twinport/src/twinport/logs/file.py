"""The sink that writes to a file, in a thread, as a disk may be slow."""

import threading

from .background import Background
from .ecs import as_json
from .kinds import FileSink
from .rotation import RotatingFile
from .sink import Sink
from .text import plain


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
