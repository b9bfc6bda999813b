"""What is left of a request that has ended: nothing."""

import asyncio
import gc
import weakref

from twinport.rest.exchange import Exchange
from twinport.rest.settings import HttpLimits

from support.edges import edge


async def part_of_a_body() -> dict[str, object]:
    return {"type": "http.request", "body": b"part", "more_body": True}


async def nowhere(message: object) -> None:
    raise AssertionError(message)


async def test_a_request_that_ends_while_its_body_comes_is_forgotten():
    ours = edge()
    exchange = Exchange(ours.open("http", {}), ours, HttpLimits(), part_of_a_body, nowhere)
    exchange.open(30, task=None)
    exchange.wake()  # looks ahead for a part of the body, which has come ...
    await asyncio.sleep(0)
    exchange.close()  # ... before anybody has looked at it
    ours.close(exchange.call)
    await asyncio.sleep(0)
    left = weakref.ref(exchange)
    del exchange
    gc.collect()
    assert left() is None
