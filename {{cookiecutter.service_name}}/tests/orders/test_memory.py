"""What only the store in memory has: a bound, and positions that a restart leaves behind."""

import pytest
from twinport import ResourceExhaustedError

from {{ cookiecutter.__package }}.orders.memory import MemoryOrderStore
from {{ cookiecutter.__package }}.orders.model import Order


def order(number: int) -> Order:
    return Order(id=f"{number:032x}", sku="tea", quantity=number)


async def test_memory_is_bounded_and_free_again_after_a_removal():
    store = MemoryOrderStore(capacity=2)
    orders = [await store.add(order(number), "") for number in range(2)]
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


async def test_positions_of_an_earlier_process_lie_before_every_order():
    earlier = MemoryOrderStore()
    for number in range(3):
        await earlier.add(order(number), "")
    before = await earlier.end()
    store = MemoryOrderStore()
    orders = [await store.add(order(number), "") for number in range(2)]
    assert [placed.order for placed in await store.page(before, 10)] == orders
