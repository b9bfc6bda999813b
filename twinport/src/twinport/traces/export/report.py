"""What people hear about spans that did not arrive: a line a minute, never a traceback."""

import threading
import time

from loguru import logger

EVERY_S = 60.0


class Report:
    """Counts and says; with a `hint`, which may name the {reason}, that is the only line ever."""

    def __init__(self, backend: str, hint: str = "") -> None:
        self._backend, self._hint = backend, hint
        self._told, self._waiting, self._reason = 0, 0, ""
        self._has_ended = False
        self.lost = 0
        self._lock = threading.Lock()  # calls drop, and so does the thread that sends
        self._next = 0.0

    def dropped(self, count: int) -> None:
        """Count spans that nobody will ever see."""
        with self._lock:
            self.lost += count

    def failed(self, reason: str, waiting: int) -> None:
        """Note why the last attempt failed, and how many spans wait for the next one."""
        self._reason, self._waiting = reason, waiting
        self.say()

    def delivered(self) -> None:
        """Note that the backend is there."""
        self._reason, self._waiting = "", 0

    def say(self) -> None:
        """Say what there is to say, unless something was said within the last minute."""
        dropped = self.lost - self._told
        if (dropped or self._reason) and time.monotonic() >= self._next:
            self._next = float("inf") if self._hint else time.monotonic() + EVERY_S
            self._told += dropped
            logger.warning("{}", self._line(dropped))

    def ended(self, lost: int) -> None:
        """Say, as the last thing, what is lost in all, with what still waited in the end."""
        news = lost - self._told
        is_news = news and not self._hint and not self._has_ended
        self._has_ended = True
        if is_news:
            logger.warning("traces: {} spans did not reach {}", news, self._backend)

    def _line(self, dropped: int) -> str:
        if self._hint:
            return self._hint.replace("{reason}", self._reason)
        why = self._reason or "more spans than it takes"
        counts = f"{dropped} spans dropped, {self._waiting} waiting"
        return f"traces: {self._backend}: {why}; {counts}"
