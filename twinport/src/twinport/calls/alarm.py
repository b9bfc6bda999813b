"""One timer of the loop for all calls: a timer each costs more than all else that a call needs."""

import asyncio
import math
from typing import Protocol

EARLY_S = 0.002  # uvloop counts in milliseconds, so its timers may fire a little early
STEP_S = 0.005  # how exact it is once many wait


class Sleeper(Protocol):
    """Who wants to be woken."""

    def wake(self) -> None:
        """Do what is due; may set the alarm again."""


class Alarm:
    """Wakes who sleeps at a time of the running loop, unless they are done before."""

    def __init__(self) -> None:
        self._due: dict[Sleeper, float] = {}
        self._rings_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, sleeper: Sleeper, at: float) -> None:
        """Wake `sleeper` then, and at no other time; infinity is never."""
        self._due[sleeper] = at
        if at < self._rings_at:
            self._ring_at(at)

    def unset(self, sleeper: Sleeper) -> None:
        """Let `sleeper` go without having been woken."""
        self._due.pop(sleeper, None)

    def _ring_at(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._ring)

    def _ring(self) -> None:
        now = asyncio.get_running_loop().time()
        self._rings_at, self._timer = math.inf, None
        for sleeper in [each for each, at in self._due.items() if at <= now + EARLY_S]:
            self._due[sleeper] = math.inf
            sleeper.wake()
        first = min(self._due.values(), default=math.inf)
        if first < self._rings_at:
            self._ring_at(max(first, now + STEP_S))
