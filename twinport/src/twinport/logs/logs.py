"""The log of the process: levels by logger, and each line on its way to every sink.

`logging_to` leads here what loguru, the standard library and gRPC's core say.
"""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_args

from loguru import logger
from opentelemetry import trace

from ..calls import Call, current
from ..redact import written
from ..settings import Identity
from . import access_log, formats
from .bounded_queue import Losses, SinkThread
from .capture import OWN, bridging, capturing_stderr, loop_handler, set_root_level
from .file_sink import File
from .formats import NUMBERS, ROOT, Line, is_below, now, origin
from .settings import (
    ConsoleSink,
    FileSink,
    HookSink,
    Level,
    LogsSettings,
    RemoteSink,
    Sink as SinkSettings,
)
from .sinks import Console, HookedSink, Sink

if TYPE_CHECKING:
    from loguru import Message, Record

FLUSH_S = 3.0
MOST_NAMES = 10_000  # a library may invent a logger for each connection


@contextmanager
def logging_to(settings: LogsSettings, identity: Identity, package: str = "") -> Iterator["Logs"]:
    """Log to the sinks of the settings; raises StartupError if one of them cannot be opened.

    `package` is the service's own, whose frames a traceback shows.
    """
    logs = Logs(settings, identity, package)
    with ExitStack() as stack:
        stack.callback(logs.close)
        for name in (name for name, chosen in settings.sinks.items() if chosen.enabled):
            losses = Losses("logs", "lines", f"sink {name}", logs.report)
            logs.add(_sink(name, settings.sinks[name], losses))
        stack.callback(logs.finish, FLUSH_S)
        stack.enter_context(bridging(logs.emit))
        handler = LoguruHandler(logs)
        stack.callback(handler.remove)
        stack.enter_context(handler.kept())
        logs._levels.listen(handler.set_lowest)
        if settings.capture_stderr and sys.__stderr__:  # else 2 may be a file of somebody
            stack.enter_context(capturing_stderr(logs.emit))
        yield logs


def _sink(name: str, settings: SinkSettings, losses: Losses) -> Sink:
    match settings:
        case ConsoleSink():
            return Console(name, settings, losses)
        case FileSink():
            return File(name, settings, losses)
        case HookSink():
            return HookedSink(name, settings, losses)
        case RemoteSink():
            module = import_module(".collectors", __package__)  # with it sqlite3, http and ssl
            remote: Sink = module.Remote(name, settings, losses)
            return remote


class Logs:
    """What `logging_to` yields: the access line, the levels, and the end of it all."""

    def __init__(self, settings: LogsSettings, identity: Identity, package: str = "") -> None:
        self._levels = Levels(settings.level, settings.levels)
        self._redactor = settings.redact.redactor()
        self._common, self._package = formats.common(identity), package
        self._lines = access_log.Access(self._redactor, self._common)
        self._sinks: list[Sink] = []
        self._for_access: list[Sink] = []
        self._late: list[Sink] = []  # those that the last flush was too short for

    def add(self, sink: Sink) -> None:
        """Write lines to `sink`, too."""
        self._sinks.append(sink)
        if sink.wants_logger(access_log.LOGGER):
            self._for_access.append(sink)

    def access(self, call: Call) -> None:
        """Write the one line of a finished call; an observer of calls."""
        part = self._lines.part_of(call)
        if part.level_no < self._levels.least(access_log.LOGGER):
            return
        json, line = b"", None  # each is made once, if some sink takes it
        for sink in self._for_access:
            if part.level_no < sink.least:
                continue
            if sink.takes_json:
                json = json or self._lines.json_of(call, part)
                sink.put(json)
            else:
                line = line or access_log.line_of(call, part)
                sink.put(sink.form(line))

    def emit(self, line: Line) -> None:
        """Write a line that did not come through loguru."""
        if line.level_no < self._levels.least(line.logger):
            return
        is_own = line.logger == OWN or isinstance(threading.current_thread(), SinkThread)
        sinks = [s for s in self._sinks if s.wants(line) and not (is_own and s.outward)]
        if not sinks:
            return
        self._complete(line)
        for sink in sinks:
            sink.put(sink.form(line))

    def _complete(self, line: Line) -> None:
        redactor = self._redactor
        line.message, line.labels = redactor.text(line.message), redactor.fields(line.labels or {})
        line.common, line.fields = self._common, {**line.fields, **self._ids()}
        if line.error is not None:
            line.fields["error.type"] = type(line.error).__name__
            line.fields["error.message"] = redactor.text(written(line.error))
            line.package = self._package
            line.stack = "".join((*traceback.format_exception(line.error), line.stack))
        line.stack = redactor.text(line.stack)

    def _ids(self) -> Mapping[str, str]:
        span = trace.get_current_span().get_span_context()
        call = current.get()
        ids = {}
        if call is not None:
            ids = {"trace.id": call.trace_id, "span.id": call.span_id}
            ids["http.request.id"] = self._redactor.text(call.request_id)
        if span.is_valid:
            ids["trace.id"] = trace.format_trace_id(span.trace_id)
            ids["span.id"] = trace.format_span_id(span.span_id)
        return ids

    def passes(self, record: "Record") -> bool:
        """Return whether a record of loguru is to be logged; its filter."""
        return record["level"].no >= self._levels.least(record["name"] or "")

    def take(self, message: "Message") -> None:
        """Write a record of loguru; its sink."""
        record = message.record
        caught = record["exception"]
        level, at = record["level"], record["time"].timestamp()
        stack = str(record.get("stack", ""))  # of `profiling`: for handlers of others in the text
        text = record["message"].removesuffix(f":\n{stack}" if stack else "")
        line = Line(at, level.name, level.no, record["name"] or "", text)
        line.fields = origin(record["file"].name, record["line"], record["function"])
        line.labels = record["extra"]
        line.error = caught.value if caught else None
        line.stack = stack
        self.emit(line)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Log what goes wrong in the loop where nobody awaits it."""
        loop.set_exception_handler(loop_handler(self.emit))

    def set_level(self, module: str, level: Level | None, for_s: float | None = None) -> None:
        """Set the level of a logger and those below it; back by itself after `for_s` seconds.

        The empty name is the root, None the level of the settings. Raises ValueError for what is
        no level.
        """
        self._levels.choose(module, level, for_s)

    def follow(self, settings: LogsSettings) -> None:
        """Take the levels of other settings."""
        self._levels.follow(settings.level, settings.levels)

    def levels(self) -> Mapping[str, Level]:
        """Return the levels in force, by logger; the root has the empty name."""
        return self._levels.current()

    def report(self, message: str) -> None:
        """Write what a sink has lost, to the others."""
        self.emit(now("WARNING", OWN, message))

    def dropped(self) -> Mapping[str, int]:
        """Return how many lines each sink has lost."""
        return {sink.name: sink.losses.dropped for sink in self._sinks}

    def flush(self, seconds: float) -> bool:
        """Wait until every sink has delivered what it took; False if that took longer."""
        deadline = time.monotonic() + seconds
        for sink in self._sinks:
            sink.flush(0.0)  # all begin at once, whatever the first one waits for
        self._late = [
            sink for sink in self._sinks if not sink.flush(max(0.0, deadline - time.monotonic()))
        ]
        return not self._late

    def close(self) -> None:
        """Give back what is open, without waiting."""
        self._levels.close()
        for sink in self._sinks:
            sink.close()

    def finish(self, seconds: float) -> None:
        """Flush what came since, where the last time was enough, and say what is lost."""
        for sink in sorted(self._sinks, key=lambda sink: not sink.outward):  # losses go to the rest
            sink.flush(0.0 if sink in self._late else seconds)
            sink.report_last()


class LoguruHandler:
    """The one handler that loguru has; another takes its place when the lowest level changes.

    With the lowest level of all loggers on it, loguru throws the other lines away at once.
    """

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._lowest: int | None = None
        self._handler: int | None = None
        self._lock = threading.RLock()

    def set_lowest(self, lowest: int) -> None:
        """Have loguru and the standard library pass on this level, and what is above it."""
        with self._lock:
            if lowest == self._lowest:
                return
            if self._handler is None:
                logger.remove()  # what loguru starts with
            self._lowest = lowest
            old, self._handler = self._handler, self._add(lowest)
            _remove(old)
            set_root_level(lowest)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Come back, in the body, when somebody else removes all handlers of loguru."""
        kind: Any = type(logger)
        before = kind.remove

        def remove(some: Any, handler_id: int | None = None) -> None:
            with self._lock:
                before(some, handler_id)
                if self._lowest is not None and handler_id in {None, self._handler}:
                    self._handler = self._add(self._lowest)

        kind.remove = remove
        try:
            yield
        finally:
            kind.remove = before

    def remove(self) -> None:
        """Let loguru write to stderr again, as it does by itself."""
        if self._handler is not None:
            _remove(self._handler)
            logger.add(_to_stderr, diagnose=False)

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


def _to_stderr(message: str) -> None:
    """Write to what is stderr then: what was is closed, if a test has caught it."""
    stream = sys.stderr or sys.__stderr__
    if stream is not None:
        stream.write(message)


def _remove(handler: int | None) -> None:
    with suppress(ValueError):  # somebody else removed all handlers, past `kept`
        if handler is not None:
            logger.remove(handler)


class Levels:
    """The least level of each logger: its own, or that of the nearest one above it."""

    def __init__(self, level: Level, levels: Mapping[str, Level]) -> None:
        self._configured: dict[str, Level] = {ROOT: level, **levels}
        self._overrides: dict[str, Level] = {}
        self._timers: dict[str, threading.Timer] = {}
        self._least: dict[str, int] = {}  # by logger, as far as it was asked for
        self._lock = threading.RLock()  # a level that goes back after its time has its own thread
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
            self._tell()

    def follow(self, level: Level, levels: Mapping[str, Level]) -> None:
        """Take other settings; what was chosen while running stays."""
        with self._lock:
            self._configured = {ROOT: level, **levels}
            self._least = {}
            self._tell()

    def listen(self, listener: Callable[[int], None]) -> None:
        """Tell `listener` the lowest level, now and whenever it may have changed."""
        with self._lock:
            self._listener = listener
            self._tell()

    def close(self) -> None:
        """Forget what was still to be changed back."""
        with self._lock:
            for logger in list(self._timers):
                self._stop_timer(logger)

    def _tell(self) -> None:
        """Tell of a change within its lock, else an older one is told last."""
        self._listener(self.lowest())

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
