"""What does not come through loguru: standard library loggers, warnings, uncaught exceptions."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from .line import Line, now, origin
from .uncaught import catching

STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})
WARNINGS = "py.warnings"  # as logging.captureWarnings has it


@contextmanager
def bridging(emit: Callable[[Line], None]) -> Iterator[None]:
    """Send to `emit` what other ways lead out of the process; as it was afterwards."""
    with _root_logger(Bridge(emit)), catching(emit), warnings.catch_warnings():
        warnings.showwarning = _showing(emit)
        yield


class Bridge(logging.Handler):
    """Takes the records of the standard library's loggers."""

    def __init__(self, emit: Callable[[Line], None]) -> None:
        super().__init__()
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        level, number = record.levelname, record.levelno
        line = Line(record.created, level, number, record.name, _message(record))
        line.fields = origin(record.filename, record.lineno, record.funcName)
        line.labels = {name: held for name, held in vars(record).items() if name not in STANDARD}
        line.error = record.exc_info[1] if record.exc_info else None
        self._emit(line)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # arguments that do not fit: the line matters more
        return f"{record.msg} % {record.args!r} ({type(error).__name__}: {error})"


@contextmanager
def _root_logger(bridge: Bridge) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = [bridge]
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)


def _showing(emit: Callable[[Line], None]) -> Callable[..., None]:
    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        made = now("WARNING", WARNINGS, f"{category.__name__}: {message}")
        made.fields = origin(filename, lineno, None)
        emit(made)

    return show
