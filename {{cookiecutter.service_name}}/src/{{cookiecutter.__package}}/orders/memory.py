"""Orders kept in memory: gone with the process, and known to no other one."""

import time
from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Sequence

from twinport import ResourceExhaustedError

from .model import Order, Placed
from .watches import Watches


class MemoryOrderStore:
    """A log in the order of positions; what is deleted leaves it, `capacity` (orders) bounds it."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._log: list[Placed] = []
        self._by_id: dict[str, tuple[Placed, str]] = {}
        self._by_key: dict[str, Order] = {}
        self._end = time.time_ns()  # tokens from before a restart point to before every order
        self._watches = Watches(self.page)
        self.end_watches = self._watches.end

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
        self._watches.wake()
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

    def watch(self, after: int) -> AsyncGenerator[Placed, None]:
        return self._watches.after(after)


def _position(placed: Placed) -> int:
    return placed.position
