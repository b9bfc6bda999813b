"""Orders kept in Redis, which other replicas of the service use at the same time.

A stream in the order of positions, a hash for each order, and one hash of all keys. What has to be
one step is a script: Redis runs one at a time, so positions follow the order in which it has them.
The braces in the names keep them together in a cluster.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from ..database.database import Database
from .model import Order, Placed
from .watches import Watches

LOG, END, KEYS = "{orders}:log", "{orders}:end", "{orders}:keys"
ONE = "{orders}:order:"

# The first position is the time in microseconds, so tokens of data that were lost point to before
# every order. Numbers of Lua are exact up to 2**53, which are microseconds until the year 2255.
ADD = """
local id = ARGV[1]
if ARGV[4] ~= '' then
    local kept = redis.call('HGET', KEYS[3], ARGV[4])
    if kept then return redis.call('HMGET', ARGV[5] .. kept, 'id', 'sku', 'quantity') end
end
if redis.call('EXISTS', KEYS[2]) == 0 then
    local now = redis.call('TIME')
    redis.call('SET', KEYS[2], string.format('%.0f', now[1] * 1000000 + now[2]))
end
redis.call('INCR', KEYS[2])
local position = redis.call('GET', KEYS[2])
local item = {'id', id, 'sku', ARGV[2], 'quantity', ARGV[3]}
redis.call('XADD', KEYS[1], position .. '-1', unpack(item))
redis.call('HSET', ARGV[5] .. id, 'position', position, 'key', ARGV[4], unpack(item))
if ARGV[4] ~= '' then redis.call('HSET', KEYS[3], ARGV[4], id) end
return {id, ARGV[2], ARGV[3]}
"""
REMOVE = """
local kept = redis.call('HMGET', KEYS[3], 'position', 'key')
if not kept[1] then return 0 end
redis.call('XDEL', KEYS[1], kept[1] .. '-1')
redis.call('DEL', KEYS[3])
if kept[2] ~= '' then redis.call('HDEL', KEYS[2], kept[2]) end
return 1
"""


class RedisOrderStore:
    """A stream; what one replica adds, the watches of all see."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watches = Watches(self.page)
        self.end_watches = self._watches.end

    async def follow(self) -> None:
        """Wake the watches for what other replicas add, until cancelled."""
        await self._database.follow(LOG, self._watches.wake)

    async def add(self, order: Order, key: str) -> Order:
        values = (order.id, order.sku, order.quantity, key, ONE)
        with self._database.lent() as redis:
            kept = await redis.register_script(ADD)([LOG, END, KEYS], values)
        self._watches.wake()
        return _order(dict(zip(("id", "sku", "quantity"), kept, strict=True)))

    async def find(self, order_id: str) -> Order | None:
        if not _is_text(order_id):
            return None
        with self._database.lent() as redis:
            found: Any = await redis.hgetall(f"{ONE}{order_id}")
        return _order(found) if found else None

    async def remove(self, order_id: str) -> bool:
        if not _is_text(order_id):
            return False
        with self._database.lent() as redis:
            gone = await redis.register_script(REMOVE)([LOG, KEYS, f"{ONE}{order_id}"])
        return bool(gone)

    async def page(self, after: int, size: int) -> Sequence[Placed]:
        with self._database.lent() as redis:
            entries: Any = await redis.xrange(LOG, min=f"({after}-1", count=size)
        return [Placed(int(name.partition("-")[0]), _order(fields)) for name, fields in entries]

    async def end(self) -> int:
        with self._database.lent() as redis:
            return int(await redis.get(END) or 0)

    def watch(self, after: int) -> AsyncGenerator[Placed, None]:
        return self._watches.after(after)


def _order(fields: Mapping[str, Any]) -> Order:
    return Order(id=fields["id"], sku=fields["sku"], quantity=int(fields["quantity"]))


def _is_text(order_id: str) -> bool:
    return order_id.isascii()
