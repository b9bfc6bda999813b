"""Ends the process when the stop itself hangs: a blocked loop, a thread that does not return."""

import os
import sys
import threading
from collections.abc import Callable


class LastResort:
    """Armed at the signal; `running` says in a few words what has not stopped yet."""

    def __init__(self, program: str, running: Callable[[], str]) -> None:
        self._program, self._running = program, running
        self._timer: threading.Timer | None = None

    def arm(self, seconds: float) -> None:
        """Let the process live for at most `seconds` from now."""
        self.disarm()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def disarm(self) -> None:
        """Trust that the rest is quick."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> None:
        line = f"{self._program}: did not stop in time, still running: {self._running()}\n"
        print(line, end="", file=sys.stderr, flush=True)
        os._exit(1)
