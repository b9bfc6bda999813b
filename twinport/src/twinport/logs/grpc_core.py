"""The lines that gRPC's C core writes to file descriptor 2, past Python: they become records.

Descriptor 2 is a pipe meanwhile, and what gRPC did not write goes on to the true stderr as it is.
Python's own `sys.stderr`, the console sink and faulthandler write to the true stderr directly, so
neither kill -9 nor a crash loses their words. The last words of C code that ends the process itself
may be lost: those of a failed check in gRPC often arrive, as they need the interpreter for a moment
more, those of a "Fatal Python error" never do (faulthandler has the stacks of the former, and of
segmentation faults). `logs.capture_stderr = false` leaves descriptor 2 alone; GRPC_VERBOSITY=ERROR,
set before the start, then keeps gRPC from chattering there.
"""

import faulthandler
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from .kinds import Level
from .line import Line, now

LOGGER = "grpc.core"
STDERR = 2
# absl/log/internal/log_format.cc: severity, month and day, time, thread, file and line
ABSL = re.compile(rb"([IWEF])\d{4} [\d:.]+ +\d+ ([\w./-]+):(\d+)\] (.*)", re.DOTALL)
LEVELS: Mapping[bytes, Level] = {b"I": "DEBUG", b"W": "WARNING", b"E": "ERROR", b"F": "CRITICAL"}
LONGEST = 1 << 16  # a line without an end is passed on from here


@contextmanager
def capturing(emit: Callable[[Line], None]) -> Iterator[None]:
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

    def __init__(self, reader: int, true_stderr: int, emit: Callable[[Line], None]) -> None:
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
        found = ABSL.fullmatch(data.rstrip())
        try:
            self._log(found) if found else self._pass_on(data)
        except Exception:  # were the pipe not read any more, gRPC would wait for ever
            self._pass_on(data)

    def _log(self, found: re.Match[bytes]) -> None:
        line = now(LEVELS[found[1]], LOGGER, found[4].decode(errors="backslashreplace"))
        line.fields = {
            "log.origin.file.name": found[2].decode(),
            "log.origin.file.line": int(found[3]),
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
