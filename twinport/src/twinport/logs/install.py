"""Leads all that the process says to the sinks while a context lasts; reports what they lost."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING

from loguru import logger

from ..settings import Identity
from . import formats
from .bounded_queue import SinkThread
from .capture import bridging, capturing
from .file_sink import File
from .logs import OWN, Logs
from .records import Levels, Line, now
from .settings import ConsoleSink, FileSink, HookSink, LogsSettings, Sink as SinkSettings
from .sinks import Console, HookedSink, Sink

if TYPE_CHECKING:
    from loguru import Message


PAUSE_S = 60.0


class Reporter:
    """A thread that is woken by the alarm of the sinks; one line for each sink with news."""

    def __init__(
        self, sinks: Sequence[Sink], alarm: threading.Event, emit: Callable[[Line], None]
    ) -> None:
        self._sinks, self._alarm, self._emit = sinks, alarm, emit
        self._over = threading.Event()
        SinkThread("reporter", self._run).start()

    def say(self) -> None:
        """Say what is new."""
        self._alarm.clear()
        for sink in self._sinks:
            news = sink.losses.news()
            if news:
                self._emit(now("WARNING", OWN, f"sink {sink.name}: {news}"))

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        self._alarm.set()

    def _run(self) -> None:
        while self._alarm.wait() and not self._over.is_set():
            self.say()
            self._over.wait(PAUSE_S)


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
        redactor, common = settings.redact.redactor(), formats.common(identity)
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
            module = import_module(".collectors", __package__)  # with it sqlite3, http and ssl
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
