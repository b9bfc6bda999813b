"""What every store of orders promises; `other` is the store of another replica of the service."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from typing import TypeVar

import pytest

from {{ cookiecutter.__package }}.orders.domain import OrderStore
from {{ cookiecutter.__package }}.orders.model import Order, Placed
from {{ cookiecutter.__package }}.orders.watches import BATCH
from {{ cookiecutter.__package }}.settings import Settings

from .kinds import KINDS
from .stores import Replicas

T = TypeVar("T")


@pytest.fixture(params=KINDS)
async def replicas(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Replicas]:
    async with KINDS[request.param](settings) as replicas:
        yield replicas


@pytest.fixture
def store(replicas: Replicas) -> OrderStore:
    return replicas[0]


@pytest.fixture
def other(replicas: Replicas) -> OrderStore:
    return replicas[1]


def order(number: int) -> Order:
    return Order(id=f"{number:032x}", sku="tea", quantity=number)


async def filled(store: OrderStore, count: int) -> list[Order]:
    return [await store.add(order(number), "") for number in range(1, count + 1)]


def found(placed: list[Placed]) -> list[Order]:
    return [each.order for each in placed]


async def soon(awaitable: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaitable, timeout=20)


async def test_an_order_is_found_by_every_replica(store, other):
    kept = await store.add(order(1), "key")
    assert kept == order(1) == await store.find(kept.id) == await other.find(kept.id)


NO_IDS = ["", "none", "x" * 8_000, "0" * 31 + "g", "a\0b", "\ud800", "ä" * 32, "%"]


@pytest.mark.parametrize("order_id", NO_IDS, ids=range(len(NO_IDS)))
async def test_what_is_no_id_is_not_found(store, order_id):
    assert await store.find(order_id) is None
    assert not await store.remove(order_id)


async def test_of_many_orders_under_one_key_one_is_kept(store, other):
    adding = (replica.add(order(n), "key") for n, replica in enumerate([store, other] * 5))
    kept = await asyncio.gather(*adding)
    assert len({each.id for each in kept}) == 1
    assert len(await store.page(0, 10)) == 1


async def test_orders_of_several_replicas_have_positions_of_their_own(store, other):
    adding = (replica.add(order(n), "") for n, replica in enumerate([store, other] * 10))
    kept = await asyncio.gather(*adding)
    page = await store.page(0, 100)
    assert sorted(each.id for each in kept) == sorted(placed.order.id for placed in page)
    assert [*{placed.position: placed for placed in page}.values()] == page
    assert [*page] == sorted(page, key=lambda placed: placed.position)


async def test_a_page_goes_on_where_the_last_one_ended_although_orders_have_gone(store):
    orders = await filled(store, 6)
    first = await store.page(0, 3)
    await store.remove(orders[0].id)
    await store.remove(orders[2].id)
    await store.remove(orders[3].id)
    assert found(await store.page(first[-1].position, 3)) == orders[4:]


@pytest.mark.parametrize("position", [2**53, 2**63 - 1, 2**63, 2**64 - 1])
async def test_behind_a_position_that_is_far_away_there_is_nothing(store, position):
    end = await store.end()
    await filled(store, 1)
    assert len(await store.page(position, 10)) == (position <= end)


async def test_what_is_removed_is_gone_everywhere(store, other):
    kept = await store.add(order(1), "key")
    assert await store.remove(kept.id)
    assert not await other.remove(kept.id)
    assert await other.find(kept.id) is None
    assert await store.page(0, 10) == []
    assert await store.add(order(2), "key") == order(2)


async def test_the_end_is_the_newest_order_ever_accepted(store, other):
    orders = await filled(store, 2)
    [_, last] = await store.page(0, 2)
    await store.remove(orders[-1].id)
    assert await store.end() == await other.end() == last.position
    await other.add(order(3), "")
    assert await store.end() > last.position


async def test_a_slow_watcher_misses_nothing(store):
    async with aclosing(store.watch(await store.end())) as watch:
        orders = await filled(store, 2)
        seen = [(await soon(anext(watch))).order]
        orders += [await store.add(order(n), "") for n in range(3, 2 * BATCH)]
        seen += [(await soon(anext(watch))).order for _ in orders[1:]]
    assert seen == orders


async def test_a_waiting_watcher_wakes_for_each_order_of_any_replica(store, other):
    async with aclosing(store.watch(await store.end())) as watch:
        for number, replica in enumerate([store, other, store, other]):
            waiting = asyncio.ensure_future(anext(watch))
            await asyncio.wait([waiting], timeout=0.1)  # it is waiting now
            await replica.add(order(number), "")
            assert (await soon(waiting)).order == order(number)


async def test_a_watch_sees_each_order_once_whatever_the_order_of_commits(store, other):
    async with aclosing(other.watch(await other.end())) as watch:
        adding = [replica.add(order(n), "") for n, replica in enumerate([store, other] * 15)]
        seen = [asyncio.ensure_future(soon(anext(watch)))]
        await asyncio.gather(*adding)
        orders = [(await seen[0]).order, *[(await soon(anext(watch))).order for _ in adding[1:]]]
    assert orders == found(await store.page(0, 100))


async def test_a_watch_resumes_after_a_position_on_any_replica(store, other):
    orders = await filled(store, 3)
    [first, *_] = await store.page(0, 1)
    async with aclosing(other.watch(first.position)) as watch:
        assert [(await soon(anext(watch))).order for _ in orders[1:]] == orders[1:]


async def test_every_watch_ends_with_the_store(store):
    watches = [store.watch(0) for _ in range(3)]
    waiting = [asyncio.ensure_future(anext(watch, None)) for watch in watches]
    await asyncio.wait(waiting, timeout=0.1)
    store.end_watches()
    assert await soon(asyncio.gather(*waiting)) == [None] * 3
    assert [placed async for placed in store.watch(0)] == []
