"""Load on replicas of a service, and what they said: a program for the service's own Python.

It is told ports and package as JSON, goes on until its standard input ends, and prints as JSON what
came of it. For each line that it reads before, it prints one when all calls that are under way have
ended. Each order has a key and an article of its own; one that was not answered is sent again, with
its key, to the next replica, until it is.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from importlib import import_module
from typing import Any

import grpc
import httpx2

DEADLINE_S = 2.0
PAUSE_S = 0.1
BETWEEN_S = 0.15  # orders of one worker; without it they take all of a machine that has more to do
CATCHING_UP_S = 30.0
LONGEST_S = 120.0  # of what has no deadline of its own, or would hang in spite of it
PAGE = 1000
RUN = f"tea-{time.time_ns()}"  # other runs have used other articles
OK = {200, 201}


class Told:
    """What was answered."""

    def __init__(self) -> None:
        self.orders: dict[str, str] = {}  # id of each order that was answered, by its article
        self.errors: Counter[str] = Counter()
        self.other_answers: list[str] = []  # articles that were answered with another order
        self.slowest_s = 0.0
        self.seen: list[list[str]] = []  # articles, by watch
        self.lag_s = 0.0
        self.answered_at: dict[str, float] = {}
        self.under_way: set[asyncio.Event] = set()  # one for each call, set at its end

    async def outcome(self, call: Awaitable[str]) -> str:
        """Wait for a call, and note how long it was."""
        began, ended = time.monotonic(), asyncio.Event()
        self.under_way.add(ended)
        try:
            return await call
        finally:
            self.under_way.remove(ended)
            ended.set()
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    def note(self, article: str, order_id: str) -> None:
        if self.orders.setdefault(article, order_id) != order_id:
            self.other_answers.append(article)
        self.answered_at.setdefault(article, time.monotonic())


class Rest:
    """A replica over REST."""

    def __init__(self, ports: dict[str, int]) -> None:
        self._http = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{ports['http']}", timeout=LONGEST_S
        )

    async def create(self, article: str) -> str:
        order = {"sku": article, "quantity": 1, "idempotency_key": article}
        headers = {"grpc-timeout": f"{DEADLINE_S * 1000:.0f}m"}
        answer = await self._http.post("/v1/orders", json=order, headers=headers)
        if answer.status_code not in OK:
            raise RefusedError(answer.json()["code"])
        return str(answer.json()["id"])

    async def watch(self, token: str) -> AsyncIterator[tuple[str, str]]:
        asked = self._http.stream("GET", "/v1/orders:watch", params={"resume_token": token})
        async with asked as answer:
            async for event in events_in(answer.aiter_lines()):
                yield event["id"], _article(event)

    async def articles(self) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            asked = {"page_size": PAGE, "page_token": token}
            answer = await self._http.get("/v1/orders", params=asked)
            if answer.status_code not in OK:  # a store that was away may still be at a loss
                await asyncio.sleep(PAUSE_S)
                continue
            page = answer.json()
            found += [order["sku"] for order in page["orders"]]
            token = page["next_page_token"]
            if not token:
                return found


class Rpc:
    """A replica over gRPC."""

    def __init__(self, package: str, ports: dict[str, int]) -> None:
        self._pb = import_module(f"{package}.orders.v1.orders_pb2")
        stubs = import_module(f"{package}.orders.v1.orders_pb2_grpc")
        options = [
            ("grpc.max_reconnect_backoff_ms", 500),
            ("grpc.initial_reconnect_backoff_ms", 100),
        ]
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc']}", options=options)
        self._stub = stubs.OrderServiceStub(channel)

    async def create(self, article: str) -> str:
        new = self._pb.CreateOrderRequest(sku=article, quantity=1, idempotency_key=article)
        return str((await self._stub.CreateOrder(new, timeout=DEADLINE_S)).order.id)

    async def watch(self, token: str) -> AsyncIterator[tuple[str, str]]:
        async for news in self._stub.WatchOrders(self._pb.WatchOrdersRequest(resume_token=token)):
            yield news.resume_token, news.order.sku


class RefusedError(Exception):
    """What a replica has answered instead of an order."""


async def events_in(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, str]]:
    """Yield the server-sent events that have an id."""
    event: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.partition(": ")
        event[name] = value
        if not line and "id" in event:
            yield event
        event = event if line else {}


def _article(event: dict[str, str]) -> str:
    data = json.loads(event.get("data") or "null")
    if event.get("event") == "problem":
        raise RefusedError(data["code"])
    return str(data["sku"]) if data else ""


Replica = Rest | Rpc
FAILURES = (RefusedError, httpx2.HTTPError, grpc.aio.AioRpcError, ValueError)


def name_of(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return str(error.code().name)
    return str(error) if isinstance(error, RefusedError) else type(error).__name__


async def order_for_ever(
    worker: int, replicas: list[Replica], told: Told, is_over: asyncio.Event
) -> None:
    number = 0
    while not is_over.is_set():
        await ordered(f"{RUN}-{worker}-{number}", worker + number, replicas, told)
        await asyncio.sleep(BETWEEN_S)
        number += 1


async def ordered(article: str, turn: int, replicas: list[Replica], told: Told) -> None:
    """Send an order until it is answered, and once more to the next replica."""
    answers = 0
    while answers < 1 + (turn % 5 == 0):
        turn += 1
        try:
            order_id = await told.outcome(replicas[turn % len(replicas)].create(article))
            told.note(article, order_id)
            answers += 1
        except FAILURES as error:
            told.errors[name_of(error)] += 1
            await asyncio.sleep(PAUSE_S)


class Watch:
    """A watch of one replica, which begins again where it was whenever it ends."""

    def __init__(self, replica: Replica, told: Told) -> None:
        self._replica, self._told, self._token = replica, told, ""
        self._seen: list[str] = []
        self.has_begun = asyncio.Event()
        told.seen.append(self._seen)

    async def go_on(self) -> None:
        while True:
            try:
                await self._follow()
            except FAILURES as error:
                self._told.errors[f"watch {name_of(error)}"] += 1
            await asyncio.sleep(PAUSE_S)

    async def _follow(self) -> None:
        async for token, article in self._replica.watch(self._token):
            self._token = token
            self.has_begun.set()
            if article:
                self._note(article)

    def _note(self, article: str) -> None:
        self._seen.append(article)
        now = time.monotonic()
        late_s = now - self._told.answered_at.get(article, now)
        self._told.lag_s = max(self._told.lag_s, late_s)


async def load(package: str, ports: list[dict[str, int]], workers: int) -> dict[str, Any]:
    """Order until standard input ends, then compare what is there with what was answered."""
    replicas: list[Replica] = [make for each in ports for make in (Rest(each), Rpc(package, each))]
    told, is_over = Told(), asyncio.Event()
    watches = [Watch(replica, told) for replica in replicas]
    watching = [asyncio.create_task(watch.go_on()) for watch in watches]
    await asyncio.gather(*(watch.has_begun.wait() for watch in watches))
    print("begun", flush=True)
    ordering = [order_for_ever(number, replicas, told, is_over) for number in range(workers)]
    began = time.monotonic()
    listening = asyncio.create_task(listen(told, is_over))
    await asyncio.gather(*ordering, listening)
    took_s = time.monotonic() - began
    await caught_up(told)
    for watch in watching:
        watch.cancel()
    there = Counter(await Rest(ports[0]).articles())
    return summary(told, there, took_s)


async def listen(told: Told, is_over: asyncio.Event) -> None:
    """Say for each line of standard input that all calls of that moment have ended."""
    while await asyncio.to_thread(sys.stdin.readline):
        await asyncio.gather(*(ended.wait() for ended in [*told.under_way]))
        print("ended", flush=True)
    is_over.set()


async def caught_up(told: Told) -> None:
    until = time.monotonic() + CATCHING_UP_S
    while any(told.orders.keys() - seen for seen in told.seen):
        if time.monotonic() > until:
            return
        await asyncio.sleep(PAUSE_S)


def summary(told: Told, there: Counter[str], took_s: float) -> dict[str, Any]:
    answered = set(told.orders)
    return {
        "answered": len(answered),
        "per_second": round(len(answered) / took_s),
        "errors": dict(told.errors),
        "lost": sorted(answered - set(there)),
        "kept_twice": sorted(article for article, times in there.items() if times > 1),
        "answered_differently": told.other_answers,
        "missed_by_a_watch": sorted({each for seen in told.seen for each in answered - set(seen)}),
        "seen_twice": sum(len(seen) - len(set(seen)) for seen in told.seen),
        "slowest_s": round(told.slowest_s, 2),
        "latest_seen_s": round(told.lag_s, 2),
    }


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(load(**options))), flush=True)
