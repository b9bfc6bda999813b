"""What every store of orders promises, kept by the one in memory."""

import asyncio

import pytest
from twinport import ResourceExhaustedError

from {{ cookiecutter.__package }}.orders.model import Order, Placed
from {{ cookiecutter.__package }}.orders.store import BATCH, MemoryOrderStore


@pytest.fixture
def store() -> MemoryOrderStore:
    return MemoryOrderStore()


def order(number: int) -> Order:
    return Order(id=f"{number:032x}", sku="tea", quantity=number)


async def filled(store: MemoryOrderStore, count: int) -> list[Order]:
    return [await store.add(order(number), "") for number in range(1, count + 1)]


def found(placed: list[Placed]) -> list[Order]:
    return [each.order for each in placed]


async def test_of_many_orders_under_one_key_one_is_kept(store):
    kept = await asyncio.gather(*(store.add(order(number), "key") for number in range(10)))
    assert len({each.id for each in kept}) == 1
    assert len(await store.page(0, 10)) == 1


async def test_a_page_goes_on_where_the_last_one_ended_although_orders_have_gone(store):
    orders = await filled(store, 6)
    first = await store.page(0, 3)
    await store.remove(orders[0].id)
    await store.remove(orders[2].id)
    await store.remove(orders[3].id)
    assert found(await store.page(first[-1].position, 3)) == orders[4:]


async def test_what_is_removed_is_gone_everywhere(store):
    kept = await store.add(order(1), "key")
    assert await store.remove(kept.id)
    assert not await store.remove(kept.id)
    assert await store.find(kept.id) is None
    assert await store.page(0, 10) == []
    assert await store.add(order(2), "key") == order(2)


async def test_memory_is_bounded_and_free_again_after_a_removal():
    store = MemoryOrderStore(capacity=2)
    orders = await filled(store, 2)
    with pytest.raises(ResourceExhaustedError):
        await store.add(order(3), "")
    await store.remove(orders[0].id)
    assert await store.add(order(3), "") == order(3)


async def test_orders_that_come_and_go_leave_nothing_behind():
    store = MemoryOrderStore(capacity=1)
    for number in range(100):
        kept = await store.add(order(number), f"key-{number}")
        await store.remove(kept.id)
    assert [len(held) for held in vars(store).values() if isinstance(held, list | dict)] == [0] * 3


async def test_a_slow_watcher_misses_nothing(store):
    watch = store.watch(await store.end())
    orders = await filled(store, 2)
    seen = [(await anext(watch)).order]
    orders += await filled(store, 2 * BATCH)
    seen += [(await anext(watch)).order for _ in orders[1:]]
    assert seen == orders


async def test_a_waiting_watcher_wakes_for_each_order(store):
    watch = store.watch(await store.end())
    for number in (1, 2):
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.wait([waiting], timeout=0)  # it is waiting now
        await store.add(order(number), "")
        assert (await waiting).order == order(number)


async def test_a_watch_resumes_after_a_position(store):
    orders = await filled(store, 3)
    [first, *_] = await store.page(0, 1)
    watch = store.watch(first.position)
    assert [(await anext(watch)).order, (await anext(watch)).order] == orders[1:]


async def test_every_watch_ends_with_the_store(store):
    watches = [store.watch(0) for _ in range(3)]
    waiting = [asyncio.ensure_future(anext(watch, None)) for watch in watches]
    await asyncio.wait(waiting, timeout=0)
    store.end_watches()
    assert await asyncio.gather(*waiting) == [None] * 3
    assert [placed async for placed in store.watch(0)] == []


async def test_positions_of_an_earlier_process_lie_before_every_order():
    earlier = MemoryOrderStore()
    await filled(earlier, 3)
    before = await earlier.end()
    store = MemoryOrderStore()
    orders = await filled(store, 2)
    assert found(await store.page(before, 10)) == orders
