"""What is left of a request that has ended: nothing."""

import asyncio
import gc
import weakref

from twinport.calls.call import Call
from twinport.calls.edge import Edge
from twinport.calls.limits import Alarm, CallSettings, Gate
from twinport.rest.exchange import Exchange
from twinport.rest.settings import HttpLimits


async def part_of_a_body() -> dict[str, object]:
    return {"type": "http.request", "body": b"part", "more_body": True}


async def nowhere(message: object) -> None:
    raise AssertionError(message)


async def test_a_request_that_ends_while_its_body_comes_is_forgotten():
    alarm = Alarm()
    gate = Gate(CallSettings())
    edge = Edge(lambda transport, _: Call(transport, "", ""), (), (), gate, alarm, 1)
    exchange = Exchange(edge.open("http", {}), edge, HttpLimits(), {}, part_of_a_body, nowhere)
    exchange.open(30)
    exchange.wake()  # looks ahead for a part of the body, which has come ...
    await asyncio.sleep(0)
    exchange.close()  # ... before anybody has looked at it
    edge.close(exchange.call)
    await asyncio.sleep(0)
    left = weakref.ref(exchange)
    del exchange
    gc.collect()
    assert left() is None
