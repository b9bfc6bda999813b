"""The rules about orders, without a transport."""

from collections.abc import AsyncIterator

import pytest
from twinport import AlreadyExistsError, InvalidArgumentError

from {{ cookiecutter.__package }}.orders.domain import Orders
from {{ cookiecutter.__package }}.orders.memory import MemoryOrderStore
from {{ cookiecutter.__package }}.orders.model import (
    NewOrder,
    PageRequest,
    QuoteRequest,
    WatchRequest,
)

TEA = NewOrder(sku="tea", quantity=1)


@pytest.fixture
def store() -> MemoryOrderStore:
    return MemoryOrderStore()


@pytest.fixture
def orders(store: MemoryOrderStore) -> Orders:
    return Orders(store, page_size=2)


async def each(*items: object) -> AsyncIterator[object]:
    for item in items:
        yield item


WRONG = [
    (NewOrder(sku="", quantity=1), {"sku"}),
    (NewOrder(sku="Tea", quantity=1), {"sku"}),
    (NewOrder(sku="tea-", quantity=1), {"sku"}),
    (NewOrder(sku="tea\n", quantity=1), {"sku"}),
    (NewOrder(sku="t" * 65, quantity=1), {"sku"}),
    (NewOrder(sku="tea", quantity=0), {"quantity"}),
    (NewOrder(sku="tea", quantity=-(2**31)), {"quantity"}),
    (NewOrder(sku="tea", quantity=1_000_001), {"quantity"}),
    (NewOrder(sku="tea", quantity=True), {"quantity"}),
    (NewOrder(sku="tea", quantity=1, idempotency_key="a b"), {"idempotency_key"}),
    (NewOrder(sku="tea", quantity=1, idempotency_key="k" * 65), {"idempotency_key"}),
    (NewOrder(sku=" ", quantity=0, idempotency_key="ä"), {"sku", "quantity", "idempotency_key"}),
]


@pytest.mark.parametrize(("new", "fields"), WRONG)
async def test_an_order_out_of_bounds_names_every_wrong_field(orders, new, fields):
    with pytest.raises(InvalidArgumentError) as caught:
        await orders.create(new)
    assert {wrong.field for wrong in caught.value.fields} == fields


@pytest.mark.parametrize("sku", ["t", "green-tea", "4711", "t" * 64])
@pytest.mark.parametrize("quantity", [1, 1_000_000])
async def test_an_order_within_bounds_is_accepted(orders, sku, quantity):
    order = await orders.create(NewOrder(sku=sku, quantity=quantity))
    assert (order.sku, order.quantity) == (sku, quantity)


async def test_a_refusal_holds_nothing_of_what_was_sent(orders):
    with pytest.raises(InvalidArgumentError) as caught:
        await orders.create(NewOrder(sku="my password", quantity=1))
    assert "password" not in repr((caught.value, caught.value.fields, caught.value.__cause__))


async def test_a_page_without_a_size_has_the_services_own(orders):
    for _ in range(3):
        await orders.create(TEA)
    assert len((await orders.list(PageRequest())).orders) == 2
    assert len((await orders.list(PageRequest(page_size=3))).orders) == 3


@pytest.mark.parametrize(
    "token", ["1", "x" * 16, "0" * 15 + "\n", "-" + "0" * 15, "\N{ARABIC-INDIC DIGIT ZERO}" * 16]
)
async def test_a_token_that_is_none_of_ours_is_refused(orders, token):
    with pytest.raises(InvalidArgumentError):
        await orders.list(PageRequest(page_token=token))
    with pytest.raises(InvalidArgumentError):
        await orders.watch(WatchRequest(resume_token=token))


async def test_an_order_without_a_key_is_a_new_one_each_time(orders):
    assert (await orders.create(TEA)).id != (await orders.create(TEA)).id


async def test_a_key_is_free_again_when_its_order_is_deleted(orders):
    first = await orders.create(NewOrder(sku="tea", quantity=1, idempotency_key="k"))
    await orders.delete(first.id)
    second = await orders.create(NewOrder(sku="coffee", quantity=2, idempotency_key="k"))
    assert await orders.get(second.id) == second


@pytest.mark.parametrize("other", [("tea", 2), ("coffee", 1)])
async def test_a_key_means_one_content(orders, other):
    sku, quantity = other
    await orders.create(NewOrder(sku="tea", quantity=1, idempotency_key="k"))
    with pytest.raises(AlreadyExistsError):
        await orders.create(NewOrder(sku=sku, quantity=quantity, idempotency_key="k"))


async def test_an_import_says_which_order_was_wrong_and_keeps_those_before(orders):
    with pytest.raises(InvalidArgumentError) as caught:
        await orders.import_many(each(TEA, TEA, NewOrder(sku="tea", quantity=0)))
    assert [wrong.field for wrong in caught.value.fields] == ["2.quantity"]
    assert len((await orders.list(PageRequest())).orders) == 2


PRICES = [  # pieces, what they cost in pieces
    (1, 1),
    (99, 99),
    (100, 90),
    (1_000_000, 900_000),
]


@pytest.mark.parametrize(("pieces", "paid"), PRICES)
async def test_a_hundred_pieces_are_a_tenth_cheaper(orders, pieces, paid):
    asked = QuoteRequest(sku="green-tea", quantity=pieces)
    [quote] = [quote async for quote in orders.quote(each(asked))]
    assert quote.total_price_cents == quote.unit_price_cents * paid
    assert 100 <= quote.unit_price_cents < 10_000


async def test_the_same_article_has_the_same_price(orders):
    asked = QuoteRequest(sku="tea", quantity=1)
    first, second = [quote async for quote in orders.quote(each(asked, asked))]
    assert first == second
