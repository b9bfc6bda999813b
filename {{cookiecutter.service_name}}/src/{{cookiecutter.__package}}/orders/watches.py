"""Watches: each is a position in the log of orders, so a slow one costs nothing."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from twinport import UnavailableError

from .model import Placed

BATCH = 100  # orders that a watch takes at a time
RETRY_S = 0.5

Page = Callable[[int, int], Awaitable[Sequence[Placed]]]


class Watches:
    """Reads the log by `page`, and waits where it ends until somebody says that it has grown."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._changed = asyncio.Event()
        self._ended = False

    def wake(self) -> None:
        """Let every watch look whether there is something new."""
        self._changed.set()
        self._changed = asyncio.Event()

    def end(self) -> None:
        """Let every watch end, now and later."""
        self._ended = True
        self.wake()

    async def after(self, position: int) -> AsyncGenerator[Placed, None]:
        """Yield the orders behind `position`, then each new one; what is away is waited for."""
        while not self._ended:
            changed = self._changed  # taken before the read, or a change during it is lost
            news = await self._read(position)
            for placed in news or ():
                position = placed.position
                yield placed
            if not news:
                await _either(changed, RETRY_S if news is None else None)

    async def _read(self, position: int) -> Sequence[Placed] | None:
        try:
            return await self._page(position, BATCH)
        except UnavailableError:
            return None


async def _either(changed: asyncio.Event, at_most_s: float | None) -> None:
    """Wait for the event, and no longer than that."""
    try:
        async with asyncio.timeout(at_most_s):
            await changed.wait()
    except TimeoutError:
        return
