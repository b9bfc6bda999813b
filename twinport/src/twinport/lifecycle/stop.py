"""The wish to stop: from a signal, or because something that must not end has ended."""

import asyncio
import signal
from collections.abc import Callable

from loguru import logger


class Stop:
    """Set once; a second signal sets `hurry`, which skips every wait."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()
        self.failure: str | None = None

    def fail(self, failure: str) -> None:
        """Ask for a stop with exit status 1; `failure` is one line, the first one counts."""
        self.failure = self.failure or failure
        self.asked.set()

    def on_signals(self, first: Callable[[], None], second: Callable[[], None]) -> None:
        """Follow SIGINT and SIGTERM, and call `first` and `second` with them."""
        loop = asyncio.get_running_loop()

        def signalled(number: signal.Signals) -> None:
            if self.asked.is_set():
                logger.warning("{} again: stopping at once", number.name)
                self.hurry.set()
                second()
                return
            logger.info("{}: stopping", number.name)
            self.asked.set()
            first()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, signalled, number)

    async def pause(self, seconds: float) -> None:
        """Wait for `seconds`, or until there is a hurry."""
        await asyncio.wait([hurry := asyncio.ensure_future(self.hurry.wait())], timeout=seconds)
        hurry.cancel()
