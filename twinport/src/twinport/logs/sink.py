"""What all sinks have in common: which lines they take, and that taking one never waits."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from .background import Losses
from .ecs import as_json
from .kinds import CommonSink
from .levels import NUMBERS, is_below
from .line import Line

Form = Callable[[Line], bytes]


class Sink(ABC):
    """One place that lines go to, in the form that it has; `losses` says what did not arrive."""

    outward: ClassVar[bool] = True  # sending may itself be logged, by the libraries that do it

    def __init__(
        self, name: str, settings: CommonSink, alarm: threading.Event, form: Form = as_json
    ) -> None:
        self.name, self.losses = name, Losses(alarm)
        self.form, self.takes_json = form, form is as_json
        self.least = NUMBERS[settings.level]  # what is below is not for this sink
        self._include, self._exclude = settings.include, settings.exclude

    def wants(self, line: Line) -> bool:
        """Return whether the line is for this sink."""
        return line.level_no >= self.least and self.wants_logger(line.logger)

    def wants_logger(self, logger: str) -> bool:
        """Return whether lines of `logger` are for this sink."""
        if not (self._include or self._exclude):
            return True
        included = not self._include or any(is_below(logger, name) for name in self._include)
        return included and not any(is_below(logger, name) for name in self._exclude)

    @abstractmethod
    def put(self, data: bytes) -> None:
        """Take a line in the form of this sink; never waits."""

    @abstractmethod
    def flush(self, seconds: float) -> bool:
        """Wait until the end of the process would lose nothing; False if it would, even so."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is open; lines that still wait are lost and counted."""
