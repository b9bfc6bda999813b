"""Records of the log, and which levels are logged, by logger; levels change while it runs."""

import threading
from collections.abc import Callable, Mapping
from time import time
from types import MappingProxyType
from typing import Any, get_args

from .settings import Level

NUMBERS: Mapping[str, int] = {  # loguru's
    "TRACE": 5,
    "DEBUG": 10,
    "INFO": 20,
    "SUCCESS": 25,
    "WARNING": 30,
    "ERROR": 40,
    "CRITICAL": 50,
    "OFF": 1000,
}
ROOT = ""
MOST_NAMES = 10_000  # a library may invent a logger for each connection


def is_below(logger: str, ancestor: str) -> bool:
    """Return whether `logger` is `ancestor` or one of those below it."""
    return ancestor in {logger, ROOT} or logger.startswith(f"{ancestor}.")


class Levels:
    """The least level of each logger: its own, or that of the nearest one above it."""

    def __init__(self, level: Level, levels: Mapping[str, Level]) -> None:
        self._configured: dict[str, Level] = {ROOT: level, **levels}
        self._overrides: dict[str, Level] = {}
        self._timers: dict[str, threading.Timer] = {}
        self._least: dict[str, int] = {}  # by logger, as far as it was asked for
        self._lock = threading.Lock()
        self._listener: Callable[[int], None] = lambda _lowest: None

    def least(self, logger: str) -> int:
        """Return the number of the least level that `logger` logs."""
        number = self._least.get(logger)
        return self._look_up(logger) if number is None else number

    def lowest(self) -> int:
        """Return the number of the least level that any logger logs."""
        return min(NUMBERS[level] for level in self.current().values())

    def current(self) -> dict[str, Level]:
        """Return the levels in force; the root has the empty name."""
        return {**self._configured, **self._overrides}

    def choose(self, logger: str, level: Level | None, for_s: float | None = None) -> None:
        """Set a level, for ever or for some seconds; None is back to the settings.

        Raises ValueError for what is no level.
        """
        if level is not None and level not in get_args(Level):
            raise ValueError(f"no level {level!r}: one of {', '.join(get_args(Level))}")
        with self._lock:
            self._stop_timer(logger)
            if level is not None and for_s is not None:
                self._start_timer(logger, for_s)
            self._set_level(logger, level)
        self._listener(self.lowest())

    def follow(self, level: Level, levels: Mapping[str, Level]) -> None:
        """Take other settings; what was chosen while running stays."""
        with self._lock:
            self._configured = {ROOT: level, **levels}
            self._least = {}
        self._listener(self.lowest())

    def listen(self, listener: Callable[[int], None]) -> None:
        """Tell `listener` the lowest level, now and whenever it may have changed."""
        self._listener = listener
        listener(self.lowest())

    def close(self) -> None:
        """Forget what was still to be changed back."""
        with self._lock:
            for logger in list(self._timers):
                self._stop_timer(logger)

    def _set_level(self, logger: str, level: Level | None) -> None:
        if level is None:
            self._overrides.pop(logger, None)
        else:
            self._overrides[logger] = level
        self._least = {}

    def _start_timer(self, logger: str, for_s: float) -> None:
        timer = threading.Timer(for_s, self.choose, (logger, None))
        timer.daemon = True
        self._timers[logger] = timer
        timer.start()

    def _stop_timer(self, logger: str) -> None:
        timer = self._timers.pop(logger, None)
        if timer is not None:
            timer.cancel()

    def _look_up(self, logger: str) -> int:
        least, levels = self._least, self.current()
        nearest = max((name for name in levels if is_below(logger, name)), key=len)
        if len(least) < MOST_NAMES:
            least[logger] = NUMBERS[levels[nearest]]
        return NUMBERS[levels[nearest]]


class Line:
    """What one record says; `fields` have names of the Elastic Common Schema, `labels` our own.

    `stack` is the traceback of `error`, in which the frames of `package` are the service's own.
    `at` is in seconds since 1970. `common` is the end of the JSON, the same in every line of the
    process. `json` is the line as JSON, made once if some sink asks for it.
    """

    fields: Mapping[str, Any] = MappingProxyType({})
    labels: Mapping[str, Any] | None = None
    error: BaseException | None = None
    stack: str = ""
    package: str = ""
    common: bytes = b"}\n"
    json: bytes | None = None

    def __init__(self, at: float, level: str, level_no: int, logger: str, message: str) -> None:
        self.at, self.level, self.level_no = at, level, level_no
        self.logger, self.message = logger, message


def now(level: Level, logger: str, message: str) -> Line:
    """Return a line of this moment."""
    return Line(time(), level, NUMBERS[level], logger, message)


def origin(file: str, line: int, function: str | None) -> dict[str, Any]:
    """Return the fields that say where in the code a line comes from."""
    return {
        "log.origin.file.name": file,
        "log.origin.file.line": line,
        "log.origin.function": function,
    }
