"""The sink that writes to a file, in a thread, as a disk may be slow."""

import threading

from . import ecs, text
from .background import Background
from .kinds import FileSink
from .line import Line
from .rotation import RotatingFile
from .sink import Sink


class File(Sink):
    """A file with the older ones beside it; raises StartupError if it cannot be written."""

    outward = False

    def __init__(self, name: str, settings: FileSink, alarm: threading.Event) -> None:
        super().__init__(name, settings, alarm)
        self._json = settings.format == "json"
        self._file = RotatingFile(name, settings)
        self._background = Background(name, self._file.write, settings.queue_size, self.losses)

    def put(self, line: Line) -> None:
        self._background.put(ecs.as_json(line) if self._json else text.as_text(line, False))

    def flush(self, seconds: float) -> bool:
        return self._background.flush(seconds)

    def close(self) -> None:
        if self._background.waiting:
            self.losses.add(self._background.waiting, "the file was too slow at the end")
        self._background.close()
