"""What all sinks have in common: which lines they take, and that taking one never waits."""

from abc import ABC, abstractmethod
from typing import ClassVar

from .levels import NUMBERS, is_below
from .line import Line
from .settings import CommonSink


class Sink(ABC):
    """One place that lines go to."""

    outward: ClassVar[bool] = True  # what it does to a line may itself be logged

    def __init__(self, name: str, settings: CommonSink) -> None:
        self.name = name
        self._least = NUMBERS[settings.level]
        self._include, self._exclude = settings.include, settings.exclude
        self._wanted: dict[str, bool] = {}

    def wants(self, line: Line) -> bool:
        """Return whether the line is for this sink."""
        if line.level_no < self._least:
            return False
        if not self._include and not self._exclude:
            return True
        return self._wants_logger(line.logger)

    def _wants_logger(self, logger: str) -> bool:
        included = not self._include or any(is_below(logger, name) for name in self._include)
        return included and not any(is_below(logger, name) for name in self._exclude)

    @abstractmethod
    def put(self, line: Line) -> None:
        """Take a line; never waits and never raises."""

    @abstractmethod
    def flush(self, seconds: float) -> bool:
        """Wait until what was taken is where it should be; False if it is not, in that time."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is open; lines that are still queued are lost."""

    @property
    @abstractmethod
    def dropped(self) -> int:
        """How many lines were taken and lost."""

    @property
    @abstractmethod
    def trouble(self) -> str:
        """What went wrong last, for people; empty if nothing."""
