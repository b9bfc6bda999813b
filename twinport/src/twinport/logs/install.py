"""Everything that the process has to say, led to the sinks for as long as a context lasts."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING

from loguru import logger

from ..settings import Identity
from . import ecs
from .bridge import bridging
from .console import Console
from .file import File
from .grpc_core import capturing
from .hook import HookedSink
from .kinds import ConsoleSink, FileSink, HookSink, Sink as SinkSettings
from .levels import Levels
from .logs import Logs
from .reporter import Reporter
from .settings import LogsSettings
from .sink import Sink

if TYPE_CHECKING:
    from loguru import Message

FLUSH_S = 3.0


@contextmanager
def logging_to(settings: LogsSettings, identity: Identity, package: str = "") -> Iterator[Logs]:
    """Log to the sinks of the settings; raises StartupError if one of them cannot be opened.

    `package` is the service's own, whose frames a traceback shows.
    """
    levels, alarm = Levels(settings.level, settings.levels), threading.Event()
    with ExitStack() as stack:
        stack.callback(levels.close)
        sinks = _opened(settings, alarm, stack)
        redactor, common = settings.redact.redactor(), ecs.common(identity)
        logs = Logs(levels, sinks, redactor, common, package)
        reporter = Reporter(sinks, alarm, logs.emit)
        stack.callback(reporter.close)
        stack.callback(reporter.say)
        stack.callback(logs.flush_once_more, FLUSH_S)
        stack.enter_context(bridging(logs.emit))
        handler = LoguruHandler(logs)
        stack.callback(handler.remove)
        levels.listen(handler.set_lowest)
        if settings.capture_stderr:
            stack.enter_context(capturing(logs.emit))
        yield logs


def _opened(settings: LogsSettings, alarm: threading.Event, stack: ExitStack) -> list[Sink]:
    sinks: list[Sink] = []
    for name, chosen in settings.sinks.items():
        if chosen.enabled:
            sinks.append(_sink(name, chosen, alarm))
            stack.callback(sinks[-1].close)
    return sinks


def _sink(name: str, settings: SinkSettings, alarm: threading.Event) -> Sink:
    match settings:
        case ConsoleSink():
            return Console(name, settings, alarm)
        case FileSink():
            return File(name, settings, alarm)
        case HookSink():
            return HookedSink(name, settings, alarm)
        case _:
            module = import_module(".remote", __package__)  # with it sqlite3, http and ssl
            remote: Sink = module.Remote(name, settings, alarm)
            return remote


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
