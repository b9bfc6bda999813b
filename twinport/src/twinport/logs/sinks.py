"""Sinks: what each of them does, and those that need no other machine: console and hook."""

import os
import pkgutil
import select
import stat
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import orjson
from pydantic import SecretStr, ValidationError

from ..errors import StartupError
from .bounded_queue import BoundedQueue, Bounds, Losses
from .formats import NUMBERS, Line, as_json, coloured, is_below, plain
from .settings import CommonSink, ConsoleSink, HookSink

Form = Callable[[Line], bytes]


class Sink:
    """One place that lines go to, in the form that it has, by way of `queue`."""

    outward: ClassVar[bool] = True  # sending may itself be logged, by the libraries that do it
    queue: BoundedQueue[bytes]

    def __init__(
        self, name: str, settings: CommonSink, losses: Losses, form: Form = as_json
    ) -> None:
        self.name, self.losses = name, losses
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

    def put(self, data: bytes) -> None:
        """Take a line in the form of this sink; never waits."""
        self.queue.put(data)

    def flush(self, seconds: float) -> bool:
        """Wait until the end of the process would lose nothing; False if it would, even so."""
        return self.queue.flush(seconds)

    def report_last(self) -> None:
        """Say, as the last thing, what is lost, with what still waits."""
        self.losses.close(self.queue.unsaved())

    def close(self) -> None:
        """Give back what is open."""
        self.queue.close()

    def _queue(self, send: Callable[[Sequence[bytes]], None], limit: int) -> BoundedQueue[bytes]:
        return BoundedQueue(f"logs-{self.name}", send, Bounds(limit), self.losses)


PIPE_BUF = 4096  # a pipe that is ready for writing takes as much at once (POSIX: at least 512)


class Console(Sink):
    """Writes at once, so that a crash loses nothing; queues while the reader does not read."""

    outward = False

    def __init__(self, name: str, settings: ConsoleSink, losses: Losses) -> None:
        stream = getattr(sys, f"__{settings.stream}__")  # None: it was closed before the start
        self._fd = os.dup(stream.fileno()) if stream else os.open(os.devnull, os.O_WRONLY)
        super().__init__(name, settings, losses, _form(settings, os.isatty(self._fd)))
        self._is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        self._lock = threading.RLock()  # a finaliser may log within
        self.queue = self._queue(self._write_all, settings.queue_size)

    def put(self, data: bytes) -> None:
        with self._lock:
            if self.queue.waiting or not (self._is_file or self._has_room(len(data))):
                self.queue.put(data)
                return
            try:
                os.write(self._fd, data)
            except OSError as error:  # nobody reads any more
                self.losses.add(1, str(error))

    def _has_room(self, size: int) -> bool:
        """Return whether writing to a pipe would not wait."""
        return size <= PIPE_BUF and bool(self._poll.poll(0))

    def _write_all(self, batch: Sequence[bytes]) -> None:
        data = b"".join(batch)
        while data:
            data = data[os.write(self._fd, data) :]


def _form(settings: ConsoleSink, terminal: bool) -> Form:
    if settings.format == "json" or (settings.format == "auto" and not terminal):
        return as_json
    colour = "NO_COLOR" not in os.environ and (terminal or "FORCE_COLOR" in os.environ)
    return coloured if colour else plain


Hook = Callable[[Mapping[str, Any]], object]


class HookedSink(Sink):
    """Gives each line to a hook, as the dictionary that its JSON is."""

    def __init__(self, name: str, settings: HookSink, losses: Losses) -> None:
        super().__init__(name, settings, losses)
        self._hook = _made(name, settings)
        self.queue = self._queue(self._call, settings.queue_size)

    def _call(self, batch: Sequence[bytes]) -> None:
        for line in batch:
            try:
                self._hook(orjson.loads(line))
            except Exception as error:  # one line that it cannot take says nothing of the next
                self.losses.add(1, f"{type(error).__name__}: {error}")


def _made(name: str, settings: HookSink) -> Hook:
    options = {
        key: value.get_secret_value() if isinstance(value, SecretStr) else value
        for key, value in settings.options.items()
    }
    try:
        hook: Hook = pkgutil.resolve_name(settings.callable)(**options)
    except ValidationError as error:  # its own text would show what may be a secret
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise StartupError(f"logs.sinks.{name}.options.{where}: {first['msg']}") from error
    except (TypeError, ValueError) as error:
        raise StartupError(f"logs.sinks.{name}.options: {error}") from error
    if not callable(hook):
        raise StartupError(f"logs.sinks.{name}.callable: what it returns cannot be called")
    return hook
