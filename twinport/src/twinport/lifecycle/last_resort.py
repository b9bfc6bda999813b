"""Ends the process when the stop itself hangs: a blocked loop, a thread that does not return."""

import faulthandler
import math
import os
import sys
import threading
import time
from collections.abc import Callable

ANSWER_S = 0.5  # in which the event loop may show that it is not blocked
LAST_WORDS_S = 1.0  # that and the line are the last part of its time
STDERR = 2  # of a process that began with it closed, for which Python has no object


class LastResort:
    """Armed at the signal; `running` says in a few words what has not stopped yet.

    `blocked` returns the stack of what keeps the event loop from answering within some seconds.
    """

    def __init__(
        self, program: str, running: Callable[[], str], blocked: Callable[[float], str]
    ) -> None:
        self._program, self._running, self._blocked = program, running, blocked
        self._timer: threading.Timer | None = None
        self._at = math.inf
        self._arming = threading.RLock()  # a signal's handler may interrupt the main thread in it

    def arm(self, seconds: float) -> None:
        """Let the process live for at most `seconds` from now, and no longer than said before."""
        with self._arming:
            at = time.monotonic() + seconds
            if at < self._at:
                self._at = at
                _end_without_lock(seconds)
                self._start_timer(seconds - LAST_WORDS_S)

    def _start_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        _end_without_lock(LAST_WORDS_S)  # from now on: a busy machine may have let it wait
        line = f"{self._program}: did not stop in time, still running: {self._running()}"
        stack = self._blocked(ANSWER_S)
        text = f"{line}, while the event loop is blocked:\n{stack}" if stack else f"{line}\n"
        faulthandler.cancel_dump_traceback_later()
        print(text, end="", file=sys.stderr, flush=True)
        os._exit(1)


def _end_without_lock(seconds: float) -> None:
    """End the process in so many seconds, even if code in C keeps Python's lock for ever."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.stderr or STDERR)
