"""The statements of a service's store without the service around them.

Each line of standard input says what is done and how often; a line of JSON says what one took:
microseconds of the processor, and how many were done a second.
"""

import asyncio
import json
import sys
import time
from itertools import repeat
from uuid import uuid4

from order_book.database.connect import connected
from order_book.database.settings import DatabaseSettings
from order_book.orders.model import Order
from order_book.orders.store import SqlOrderStore
from pydantic import SecretStr

AT_ONCE = 16
SKU, QUANTITY = "green-tea", 3


async def main(url: str) -> None:
    """Do what is said until there is no more."""
    async with connected(DatabaseSettings(url=SecretStr(url))) as database:
        store = SqlOrderStore(database)
        kept = await store.add(_order(), "")
        calls = {"create": lambda: store.add(_order(), ""), "get": lambda: store.find(kept.id)}
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, count = line.split()
            print(json.dumps(await _taken(calls[name], int(count))), flush=True)


async def _taken(call, count: int) -> tuple[float, float]:
    """Make so many calls, 16 at once."""
    left = repeat(call, count)

    async def work() -> None:
        for each in left:
            await each()

    began, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    took = time.perf_counter() - began
    return (time.process_time() - used) / count * 1e6, count / took


def _order() -> Order:
    return Order(id=uuid4().hex, sku=SKU, quantity=QUANTITY)


asyncio.run(main(sys.argv[1]))
