"""Everything that the process has to say, led to the sinks for as long as a context lasts."""

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from loguru import logger

from ..settings import Identity
from . import ecs
from .bridge import bridging
from .console import Console
from .levels import Levels
from .logs import Logs
from .settings import LogsSettings
from .sink import Sink

if TYPE_CHECKING:
    from loguru import Message

FLUSH_S = 3.0


@contextmanager
def logging_to(settings: LogsSettings, identity: Identity) -> Iterator[Logs]:
    """Log to the sinks of the settings; raises StartupError if one of them cannot be opened."""
    levels = Levels(settings.level, settings.levels)
    with ExitStack() as stack:
        stack.callback(levels.close)
        sinks = _opened(settings, stack)
        logs = Logs(levels, sinks, ecs.common(identity))
        stack.callback(logs.flush, FLUSH_S)
        stack.enter_context(bridging(logs.emit))
        handler = LoguruHandler(logs)
        stack.callback(handler.remove)
        levels.listen(handler.set_lowest)
        yield logs


def _opened(settings: LogsSettings, stack: ExitStack) -> list[Sink]:
    sinks: list[Sink] = []
    for name, chosen in settings.sinks.items():
        if chosen.enabled:
            sinks.append(Console(name, chosen))
            stack.callback(sinks[-1].close)
    return sinks


class LoguruHandler:
    """The one handler that loguru has; another takes its place when the lowest level changes.

    With the lowest level of all loggers on it, loguru throws the other lines away at once.
    """

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._lowest: int | None = None
        self._handler: int | None = None

    def set_lowest(self, lowest: int) -> None:
        """Have loguru and the standard library pass on this level, and what is above it."""
        if lowest == self._lowest:
            return
        if self._handler is None:
            logger.remove()  # what loguru starts with
        self._lowest = lowest
        old, self._handler = self._handler, self._add(lowest)
        if old is not None:
            logger.remove(old)
        logging.getLogger().setLevel(lowest)

    def remove(self) -> None:
        """Let loguru write to stderr again, as it does by itself."""
        if self._handler is not None:
            with suppress(ValueError):  # somebody else removed all handlers
                logger.remove(self._handler)
            logger.add(sys.stderr)

    def _add(self, lowest: int) -> int:
        def take(message: "Message") -> None:
            if self._lowest == lowest:  # else the handler that took this one's place has it
                self._logs.take(message)

        return logger.add(
            take,
            level=lowest,
            format=lambda _record: "",
            filter=self._logs.passes,
            backtrace=False,
            diagnose=False,  # never the values of variables: passwords are among them
        )
