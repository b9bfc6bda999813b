"""The wish to stop: from a signal, or because something that must not end has ended."""

import asyncio
import math
import signal
import time
from collections.abc import Callable
from functools import partial

from loguru import logger

from .signals import Signals, call_in

# Ctrl-C reaches all processes of a terminal, and those that started others (make, a supervisor)
# send theirs a signal as well: it is one wish.
SAME_WISH_S = 1.0


class Stop:
    """Set once; a second signal sets `hurry`, which skips every wait."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()
        self.failure: str | None = None
        self._signalled_at = -math.inf

    def fail(self, failure: str) -> None:
        """Ask for a stop with exit status 1; `failure` is one line, the first one counts."""
        self.failure = self.failure or failure
        self.asked.set()

    def on_signals(
        self, signals: Signals, arm: Callable[[bool], None], first: Callable[[], None]
    ) -> None:
        """Follow SIGINT and SIGTERM, and call `first` with the first one.

        `arm` is called at once, also while the loop is blocked, and told whether there is a hurry.
        """
        loop = asyncio.get_running_loop()

        def signalled(number: signal.Signals) -> None:
            now, before = time.monotonic(), self._signalled_at
            if now - before < SAME_WISH_S:
                return
            self._signalled_at = now
            is_second = self.asked.is_set() or before > -math.inf
            arm(is_second)
            if is_second:
                logger.warning("{} again: stopping at once", number.name)
                call_in(loop, self.hurry.set)
                return
            logger.info("{}: stopping", number.name)
            call_in(loop, self.asked.set)
            call_in(loop, first)

        for number in (signal.SIGINT, signal.SIGTERM):
            signals.on(number, partial(signalled, number), urgent=partial(arm, False))

    async def pause(self, seconds: float) -> None:
        """Wait for `seconds`, or until there is a hurry."""
        await asyncio.wait([hurry := asyncio.ensure_future(self.hurry.wait())], timeout=seconds)
        hurry.cancel()
