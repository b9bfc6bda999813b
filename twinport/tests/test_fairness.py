"""No request keeps the loop from the others for longer than a full body takes to read."""

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http.client import HTTPConnection
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.struct_pb2 import ListValue

from sample.settings import Settings
from twinport import Service
from twinport.rest.settings import HttpLimits
from twinport.rpc.settings import GrpcLimits

LINE = b'{"sku":"tea","quantity":1}\n'
JSON_LINES, JSON = "application/jsonl", "application/json"
FIXED_SIZE = 1024 * 1024
BODY_SIZE = HttpLimits().body_size

# Shapes of values that cost most for their size.
SHAPES: dict[str, Callable[[int], bytes]] = {
    "numbers": lambda size: b"[" + b"1," * (size // 2 - 1) + b"1]",
    "lists": lambda size: b"[" + b"[]," * (size // 3 - 1) + b"[]]",
    "objects": lambda size: b"[" + b"{}," * (size // 3 - 1) + b"{}]",
    "fields": lambda size: b"{" + b",".join(b'"%x":1' % n for n in range(size // 10)) + b"}",
}
STREAMS = [":quote", ":import"]
TIMES = 5  # at most: what disturbs one of them is no fault of ours
FEW = 10  # each of a few objects costs as much to read as several numbers


@pytest.fixture(autouse=True)
def nothing_old_to_search() -> None:
    """Keep garbage collection, which new values set off, from what other tests have left."""
    gc.collect()
    gc.freeze()


def post(port: int, path: str, kind: str, body: bytes) -> int:
    connection = HTTPConnection("127.0.0.1", port)
    with suppress(ConnectionError):
        connection.request("POST", f"/v1/orders{path}", body, {"content-type": kind})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@asynccontextmanager
async def longest_turn() -> AsyncIterator[list[float]]:
    """Note the most CPU time, in seconds, that the loop's thread takes between two turns."""
    longest = [0.0]

    async def look() -> None:
        while True:
            begin = time.thread_time()
            await asyncio.sleep(0)
            longest[0] = max(longest[0], time.thread_time() - begin)

    looking = asyncio.create_task(look())
    try:
        yield longest
    finally:
        looking.cancel()


async def kept_s(port: int, *request: Any) -> float:
    async with longest_turn() as longest:
        await asyncio.to_thread(post, port, *request)
    return longest[0]


def reading_s() -> float:
    """Return what it takes to read one fixed body of many values."""
    body, begin = SHAPES["numbers"](FIXED_SIZE), time.thread_time()
    json.loads(body)
    return time.thread_time() - begin


async def least(most: float, kept_s: Callable[[], Awaitable[float]]) -> float:
    """Return how often the fixed body could be read meanwhile, the least of a few times.

    They end with the first below `most`.
    """
    ratios: list[float] = []
    while len(ratios) < TIMES and not any(ratio < most for ratio in ratios):
        ratios.append(await kept_s() / reading_s())
    return min(ratios)


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("server", ["hypercorn", "uvicorn", "granian"])
async def test_a_burst_of_lines_lets_others_have_their_turn(
    serving: Any, settings: Settings, server: str, path: str
) -> None:
    http = settings.http.model_copy(update={"server": server})
    burst = path, JSON_LINES, LINE * 10_000
    async with serving(settings.model_copy(update={"http": http})) as ports:
        assert await least(1, lambda: kept_s(ports.http, *burst)) < 1


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_largest_body_keeps_others_for_no_longer_than_a_few_fixed_ones(
    serving: Any, settings: Settings, shape: str
) -> None:
    body = SHAPES[shape](BODY_SIZE)
    async with serving(settings) as ports:
        assert await least(FEW, lambda: kept_s(ports.http, "", JSON, body)) < FEW


TINY = b"\x0a\x00"  # an empty message within a message: two bytes that become an object
PATH = "/tests.Lists/Take"


async def take(_: ListValue, __: Any) -> Empty:
    return Empty()


def register(_: None, server: Any) -> None:
    method = grpc.unary_unary_rpc_method_handler(
        take, ListValue.FromString, Empty.SerializeToString
    )
    server.add_registered_method_handlers("tests.Lists", {"Take": method})


async def built(service: Service, _: Settings) -> None:
    service.rpc.add(register, None)


def send(port: int, message: bytes) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        channel.unary_unary(PATH)(message)


async def kept_by_message_s(port: int, message: bytes) -> float:
    async with longest_turn() as longest:
        await asyncio.to_thread(send, port, message)
    return longest[0]


async def test_the_largest_message_keeps_others_for_no_longer_than_two_fixed_bodies(
    serving: Any, settings: Settings
) -> None:
    message = TINY * (GrpcLimits().message_size // len(TINY) - 10)
    async with serving(settings, built) as ports:
        assert await least(2, lambda: kept_by_message_s(ports.grpc, message)) < 2
