"""What a request has and leaves: a deadline until it is answered, and nothing after its end."""

import asyncio
import gc
import weakref

from starlette.types import Send

from twinport.calls import Call, Edge
from twinport.rest.exchange import Exchange
from twinport.rest.settings import HttpLimits

from support.edges import edge


async def part_of_a_body() -> dict[str, object]:
    return {"type": "http.request", "body": b"part", "more_body": True}


async def nowhere(message: object) -> None:
    raise AssertionError(message)


async def anywhere(message: object) -> None:
    """Take an answer."""


def opened(send: Send = anywhere) -> tuple[Exchange, Call, Edge]:
    ours = edge()
    exchange, call = Exchange(HttpLimits(), {}, {}, part_of_a_body), ours.open("http", {})
    exchange.open(call, ours, send, None)
    return exchange, call, ours


async def test_a_request_that_ends_while_its_body_comes_is_forgotten():
    exchange, call, ours = opened(nowhere)
    exchange.wake()  # looks ahead for a part of the body, which has come ...
    await asyncio.sleep(0)
    exchange.close()  # ... before anybody has looked at it
    ours.close(call)
    await asyncio.sleep(0)
    left = weakref.ref(exchange)
    del exchange
    gc.collect()
    assert left() is None


async def test_what_a_stream_calls_need_not_end_with_the_time_that_its_beginning_had():
    exchange, call, _ = opened()
    assert call.deadline is not None
    await exchange.send({"type": "http.response.start", "status": 200})
    assert call.deadline is None
    exchange.close()


async def test_what_is_called_after_the_answer_need_not_end_with_the_time_that_it_had():
    exchange, call, _ = opened()
    head = [(b"content-length", b"2")]
    await exchange.send({"type": "http.response.start", "status": 200, "headers": head})
    assert call.deadline is not None
    await exchange.send({"type": "http.response.body", "body": b"ok"})
    assert call.deadline is None
    exchange.close()
