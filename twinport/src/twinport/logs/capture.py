"""What does not come through loguru: stdlib logging, warnings, uncaught exceptions, gRPC's core.

gRPC's C core writes to file descriptor 2, past Python. That is a pipe meanwhile, and what gRPC did
not write goes on to the true stderr as it is. Python's own `sys.stderr`, the console sink and
faulthandler write to the true stderr directly, so neither kill -9 nor a crash loses their words.
The last words of C code that ends the process itself may be lost: those of a failed check in gRPC
often arrive, as they need the interpreter for a moment more, those of a "Fatal Python error" never
do (faulthandler has the stacks of the former, and of segmentation faults).
`logs.capture_stderr = false` leaves descriptor 2 alone; GRPC_VERBOSITY=ERROR, set before the start,
then keeps gRPC from chattering there.
"""

import asyncio
import errno
import faulthandler
import logging.config
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import FatalError, SettingsError
from .formats import Line, now, origin
from .settings import Level

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

Emit = Callable[[Line], None]
OWN = "logs"  # the logger of what the sinks say of themselves
KEPT = (
    "{} takes away the handlers of the root logger: that of these sinks stays, and its level, too;"
    " loggers that are disabled there (disable_existing_loggers) are silent"
)
TALKATIVE = frozenset({"httpx2", "httpx"})  # INFO for each request, which is in our span already
STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})


@contextmanager
def bridging(emit: Emit) -> Iterator[None]:
    """Log what the standard library logs, warnings, and what nobody caught, also in the body.

    Afterwards all is as it was.
    """
    with _root_logger(emit), _catching(emit), warnings.catch_warnings():
        warnings.showwarning = _warnings_to(emit)
        yield


class Bridge(logging.Handler):
    """Takes the records of the standard library's loggers."""

    def __init__(self, emit: Emit) -> None:
        super().__init__()
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        level, number = record.levelname, record.levelno
        if number == logging.INFO and record.name in TALKATIVE:
            level, number = "DEBUG", logging.DEBUG
        line = Line(record.created, level, number, record.name, _message(record))
        line.fields = origin(record.filename, record.lineno, record.funcName)
        line.labels = {name: value for name, value in vars(record).items() if name not in STANDARD}
        line.error = record.exc_info[1] if record.exc_info else None
        line.stack = f"{record.stack_info}\n" if record.stack_info else ""
        self._emit(line)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # arguments that do not fit: the line matters more
        return f"{record.msg} % {record.args!r} ({type(error).__name__}: {error})"


class Root(logging.RootLogger):
    """The root logger, while its first handler is ours and its level that of the settings.

    `fileConfig`, `dictConfig` and `basicConfig(force=True)` put others in place of both.
    """

    _handlers: "Handlers"

    @property
    def handlers(self) -> list[logging.Handler]:
        return self._handlers

    @handlers.setter
    def handlers(self, handlers: list[logging.Handler]) -> None:
        self._handlers.clear()
        self._handlers += handlers

    def setLevel(self, level: int | str) -> None:
        pass  # `set_root_level` does, as the settings say


class Handlers(list[logging.Handler]):
    """Handlers, the first of which stays: that which `emit` is behind."""

    def __init__(self, emit: Emit) -> None:
        super().__init__([Bridge(emit)])
        self._emit = emit

    def remove(self, handler: logging.Handler) -> None:
        if handler is self[0]:
            self._emit(now("WARNING", OWN, KEPT.format(_caller())))
        else:
            super().remove(handler)

    def clear(self) -> None:
        del self[1:]
        self.remove(self[0])


def _caller() -> str:
    """Return where the code stands that uses `logging` or the classes above."""
    files = {__file__, logging.__file__, logging.config.__file__}
    frame = sys._getframe()
    while frame.f_code.co_filename in files and frame.f_back:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def set_root_level(level: int) -> None:
    """Have the standard library's loggers pass on this level, and what is above it."""
    logging.Logger.setLevel(logging.getLogger(), level)


@contextmanager
def _root_logger(emit: Emit) -> Iterator[None]:
    root = logging.getLogger()
    kind, level, outer = root.__class__, root.level, vars(root).get("_handlers")
    root.__class__ = Root  # behind which the list of the root itself is as it was
    vars(root)["_handlers"] = Handlers(emit)
    try:
        yield
    finally:
        root.__class__ = kind
        vars(root)["_handlers"] = outer
        set_root_level(level)


def _warnings_to(emit: Emit) -> Callable[..., None]:
    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        *_: Any,
        **_named: Any,
    ) -> None:
        line = now("WARNING", "py.warnings", f"{category.__name__}: {message}")
        line.fields = origin(filename, lineno, None)
        emit(line)

    return show


@contextmanager
def _catching(emit: Emit) -> Iterator[None]:
    before = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = partial(_in_thread, emit), partial(_ignored, emit)
    try:
        yield
    except (FatalError, SettingsError):  # the command line says those
        raise
    except Exception as error:  # here, as `sys.excepthook` comes when the sinks are closed
        _uncaught(emit, "uncaught exception", error)
        raise
    finally:
        threading.excepthook, sys.unraisablehook = before


def _in_thread(emit: Emit, args: threading.ExceptHookArgs) -> None:
    if not issubclass(args.exc_type, SystemExit):
        name = args.thread.name if args.thread else "that is gone"
        _uncaught(emit, f"uncaught exception in thread {name}", args.exc_value)


def _ignored(emit: Emit, args: "UnraisableHookArgs") -> None:  # in `__del__` and the like
    _uncaught(emit, f"{args.err_msg or 'exception ignored in'} {args.object!r}", args.exc_value)


def _uncaught(emit: Emit, message: str, error: BaseException | None) -> None:
    line = now("CRITICAL", "uncaught", message)
    line.error = error
    emit(line)


def loop_handler(emit: Emit) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """Return an exception handler for an event loop: tasks that nobody awaited, and the like."""

    def handle(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        error = context.get("exception")
        line = now("DEBUG" if _is_full(error) else "ERROR", "asyncio", context["message"])
        line.error = error
        line.labels = {k: repr(v) for k, v in context.items() if k not in {"message", "exception"}}
        emit(line)

    return handle


def _is_full(error: BaseException | None) -> bool:
    """Tell whether no descriptor was free for a connection: `lifecycle.open_files` says that."""
    return isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}


STDERR = 2
# absl/log/internal/log_format.cc: severity, month and day, time, thread, file and line
ABSL = re.compile(rb"([IWEF])\d{4} [\d:.]+ +\d+ ([\w./-]+):(\d+)\] (.*)", re.DOTALL)
LEVELS: Mapping[bytes, Level] = {b"I": "DEBUG", b"W": "WARNING", b"E": "ERROR", b"F": "CRITICAL"}
NO_ERRORS: Mapping[tuple[bytes, bytes], Level] = {  # file, first word: of ours, with severity E
    (b"hpack_parser.cc", b"Error"): "INFO",  # a client's metadata cannot be read
    (b"ssl_transport_security.cc", b"No"): "INFO",  # match for the name by which a client calls
    (b"posix_engine_listener.cc", b"File"): "DEBUG",  # of `lifecycle.open_files`: none is free
}
LONGEST = 1 << 16  # a line without an end is passed on from here


@contextmanager
def capturing_stderr(emit: Emit) -> Iterator[None]:
    """Make records of gRPC's lines; descriptor 2 is as it was afterwards."""
    true_stderr = os.dup(STDERR)
    reader, writer = os.pipe()
    relay = Relay(reader, true_stderr, emit)
    thread = threading.Thread(target=relay.run, name="logs-stderr", daemon=True)
    thread.start()
    os.dup2(writer, STDERR)
    os.close(writer)
    try:
        with _python_writes_to(true_stderr):
            yield
    finally:
        os.dup2(true_stderr, STDERR)  # closes the pipe, so the thread ends with what is in it
        thread.join(1)
        if not thread.is_alive():  # else a child process holds the pipe open: it is still read
            os.close(reader)
            os.close(true_stderr)


class Relay:
    """Reads the pipe: lines of gRPC to `emit`, everything else to the true stderr."""

    def __init__(self, reader: int, true_stderr: int, emit: Emit) -> None:
        self._reader, self._true_stderr, self._emit = reader, true_stderr, emit
        self._begun = b""  # a line of gRPC whose end has not come yet

    def run(self) -> None:
        """Go on until nobody can write any more."""
        while data := os.read(self._reader, LONGEST):
            self._split(self._begun + data)
        self._pass_on(self._begun)

    def _split(self, data: bytes) -> None:
        *lines, rest = data.splitlines(keepends=True)
        is_whole = rest.endswith(b"\n") or len(rest) >= LONGEST or rest[:1] not in LEVELS
        self._begun = b"" if is_whole else rest
        for line in [*lines, rest] if is_whole else lines:
            self._take(line)

    def _take(self, data: bytes) -> None:
        match = ABSL.fullmatch(data.rstrip())
        try:
            self._log(*match.groups()) if match else self._pass_on(data)
        except Exception:  # were the pipe not read any more, gRPC would wait for ever
            self._pass_on(data)

    def _log(self, severity: bytes, file: bytes, number: bytes, message: bytes) -> None:
        level = LEVELS[severity]
        if severity == b"E":
            level = NO_ERRORS.get((file, message.partition(b" ")[0]), level)
        line = now(level, "grpc.core", message.decode(errors="backslashreplace"))
        line.fields = {
            "log.origin.file.name": file.decode(),
            "log.origin.file.line": int(number),
        }
        self._emit(line)

    def _pass_on(self, data: bytes) -> None:
        with suppress(OSError):  # nobody reads it any more
            while data:
                data = data[os.write(self._true_stderr, data) :]


@contextmanager
def _python_writes_to(true_stderr: int) -> Iterator[None]:
    before = sys.stderr
    if before is sys.__stderr__:  # else somebody has taken its place, as pytest does
        sys.stderr = os.fdopen(
            true_stderr, "w", buffering=1, errors="backslashreplace", closefd=False
        )
    was_enabled = faulthandler.is_enabled()
    faulthandler.enable(true_stderr)
    try:
        yield
    finally:
        sys.stderr = before
        faulthandler.disable()
        if was_enabled:
            faulthandler.enable(STDERR)
