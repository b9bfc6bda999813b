"""The log of the process: every line comes here once, and goes to every sink that wants it."""

import asyncio
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from opentelemetry import trace

from ..calls.call import Call, current
from ..redact import Redactor, written
from . import access_log
from .bounded_queue import SinkThread, remaining
from .capture import loop_handler
from .records import Levels, Line, origin
from .settings import Level, LogsSettings
from .sinks import Sink

if TYPE_CHECKING:
    from loguru import Message, Record


OWN = "logs"  # the logger of what the sinks say of themselves


class Logs:
    """What `logging_to` yields: the access line, the levels, and the end of it all."""

    def __init__(
        self,
        levels: Levels,
        sinks: Sequence[Sink],
        redactor: Redactor,
        common: bytes,
        package: str = "",
    ) -> None:
        self._levels, self._sinks = levels, sinks
        self._redactor, self._common, self._package = redactor, common, package
        self._lines = access_log.Access(redactor, common)
        self._for_access = [sink for sink in sinks if sink.wants_logger(access_log.LOGGER)]
        self._has_given_up = False

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
        line.common, line.fields = self._common, {**line.fields, **_ids(redactor)}
        if line.error is not None:
            line.fields["error.type"] = type(line.error).__name__
            line.fields["error.message"] = redactor.text(written(line.error))
            line.package = self._package
            line.stack = redactor.text("".join(traceback.format_exception(line.error)))

    def passes(self, record: "Record") -> bool:
        """Return whether a record of loguru is to be logged; its filter."""
        return record["level"].no >= self._levels.least(record["name"] or "")

    def take(self, message: "Message") -> None:
        """Write a record of loguru; its sink."""
        record = message.record
        caught = record["exception"]
        level, at = record["level"], record["time"].timestamp()
        line = Line(at, level.name, level.no, record["name"] or "", record["message"])
        line.fields = origin(record["file"].name, record["line"], record["function"])
        line.labels = record["extra"]
        line.error = caught.value if caught else None
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

    def dropped(self) -> Mapping[str, int]:
        """Return how many lines each sink has lost."""
        return {sink.name: sink.losses.dropped for sink in self._sinks}

    def flush(self, seconds: float) -> bool:
        """Wait until every sink has delivered what it took; False if that took longer."""
        deadline = time.monotonic() + seconds
        for sink in self._sinks:
            sink.flush(0.0)  # all begin at once, whatever the first one waits for
        done = [sink.flush(remaining(deadline)) for sink in self._sinks]
        self._has_given_up = not all(done)
        return not self._has_given_up

    def flush_once_more(self, seconds: float) -> None:
        """Flush what came since, unless the time that somebody gave was not enough."""
        self.flush(0.0 if self._has_given_up else seconds)


def _ids(redactor: Redactor) -> Mapping[str, str]:
    span = trace.get_current_span().get_span_context()
    call = current.get()
    ids = {}
    if call is not None:
        ids = {"trace.id": call.trace_id, "span.id": call.span_id}
        ids["http.request.id"] = redactor.text(call.request_id)
    if span.is_valid:
        ids["trace.id"] = trace.format_trace_id(span.trace_id)
        ids["span.id"] = trace.format_span_id(span.span_id)
    return ids
