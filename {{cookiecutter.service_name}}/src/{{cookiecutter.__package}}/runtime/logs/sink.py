"""What all sinks have in common: which lines they take, and that taking one never waits."""

import threading
from abc import ABC, abstractmethod
from typing import ClassVar

from .background import Losses
from .kinds import CommonSink
from .levels import NUMBERS, is_below
from .line import Line


class Sink(ABC):
    """One place that lines go to; `losses` says what did not arrive."""

    outward: ClassVar[bool] = True  # sending may itself be logged, by the libraries that do it

    def __init__(self, name: str, settings: CommonSink, alarm: threading.Event) -> None:
        self.name, self.losses = name, Losses(alarm)
        self._least = NUMBERS[settings.level]
        self._include, self._exclude = settings.include, settings.exclude

    def wants(self, line: Line) -> bool:
        """Return whether the line is for this sink."""
        if line.level_no < self._least:
            return False
        if self._include or self._exclude:
            return self._wants_logger(line.logger)
        return True

    def _wants_logger(self, logger: str) -> bool:
        included = not self._include or any(is_below(logger, name) for name in self._include)
        return included and not any(is_below(logger, name) for name in self._exclude)

    @abstractmethod
    def put(self, line: Line) -> None:
        """Take a line; never waits."""

    @abstractmethod
    def flush(self, seconds: float) -> bool:
        """Wait until the end of the process would lose nothing; False if it would, even so."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is open; lines that still wait are lost and counted."""
