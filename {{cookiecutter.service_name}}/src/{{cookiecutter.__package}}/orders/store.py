"""Orders kept in memory; swap this file for a database."""

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Sequence

from twinport import ResourceExhaustedError

from .model import Order, Placed

BATCH = 100  # orders that a watcher takes at a time


class MemoryOrderStore:
    """A log in the order of positions; a watcher is a position in it, so a slow one costs nothing.

    What is deleted leaves the log, and `capacity` (orders) bounds it.
    """

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._log: list[Placed] = []
        self._by_id: dict[str, tuple[Placed, str]] = {}
        self._by_key: dict[str, Order] = {}
        self._end = time.time_ns()  # tokens from before a restart point to before every order
        self._changed = asyncio.Event()
        self._ended = False

    async def add(self, order: Order, key: str) -> Order:
        """Keep `order` unless `key` is taken; raises ResourceExhaustedError."""
        if key in self._by_key:
            return self._by_key[key]
        if len(self._log) >= self._capacity:
            raise ResourceExhaustedError(f"the store holds {self._capacity} orders and no more")
        self._end += 1
        placed = Placed(self._end, order)
        self._log.append(placed)
        self._by_id[order.id] = placed, key
        if key:
            self._by_key[key] = order
        self._wake_watchers()
        return order

    async def find(self, order_id: str) -> Order | None:
        found = self._by_id.get(order_id)
        return None if found is None else found[0].order

    async def remove(self, order_id: str) -> bool:
        found = self._by_id.pop(order_id, None)
        if found is None:
            return False
        placed, key = found
        del self._log[bisect_left(self._log, placed.position, key=_position)]
        self._by_key.pop(key, None)
        return True

    async def page(self, after: int, size: int) -> Sequence[Placed]:
        start = bisect_right(self._log, after, key=_position)
        return self._log[start : start + size]

    async def end(self) -> int:
        return self._end

    async def watch(self, after: int) -> AsyncGenerator[Placed, None]:
        while not self._ended:
            changed = self._changed  # taken before the read, or a change during it is lost
            news = await self.page(after, BATCH)
            for placed in news:
                after = placed.position
                yield placed
            if not news:
                await changed.wait()

    def end_watches(self) -> None:
        """Let every watch end, now and later."""
        self._ended = True
        self._wake_watchers()

    def _wake_watchers(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _position(placed: Placed) -> int:
    return placed.position
