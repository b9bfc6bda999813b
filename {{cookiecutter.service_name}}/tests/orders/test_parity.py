"""What a caller sees of orders: the same over REST and gRPC."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from twinport import UnavailableError
from twinport.testing import Refusal, RefusedError, Serving

from {{ cookiecutter.__package }}.orders.domain import Orders
from {{ cookiecutter.__package }}.orders.memory import MemoryOrderStore
from {{ cookiecutter.__package }}.orders.rest import orders_router
from {{ cookiecutter.__package }}.orders.v1 import orders_pb2 as pb

from .clients import Client, RestClient, RpcClient, soon
from .stores import BreakingStore, FailingStore, build_with

TEA = {"sku": "tea", "quantity": 1}
KEYED = TEA | {"idempotency_key": "taken"}
NONE, MANY, NEGATIVE = ({"sku": "tea", "quantity": number} for number in (0, 1_000_001, -1))
UNNAMED = {"sku": "", "quantity": 1}
ALL_WRONG = {"sku": "A B", "quantity": 0, "idempotency_key": "ä"}
SECOND = {f"1.{field}" for field in ALL_WRONG}


async def asked(*items: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    for item in items:
        yield item


REFUSALS = [  # operation, what is sent, code, wrong fields; `taken` is the key of an order of TEA
    ("create_order", NONE, "INVALID_ARGUMENT", {"quantity"}),
    ("create_order", MANY, "INVALID_ARGUMENT", {"quantity"}),
    ("create_order", NEGATIVE, "INVALID_ARGUMENT", {"quantity"}),
    ("create_order", UNNAMED, "INVALID_ARGUMENT", {"sku"}),
    ("create_order", ALL_WRONG, "INVALID_ARGUMENT", {"sku", "quantity", "idempotency_key"}),
    ("create_order", KEYED | {"quantity": 2}, "ALREADY_EXISTS", {"idempotency_key"}),
    ("get_order", {"order_id": "no-such-order"}, "NOT_FOUND", set()),
    ("get_order", {"order_id": "x" * 8_000}, "NOT_FOUND", set()),
    ("list_orders", {"page_size": -1}, "INVALID_ARGUMENT", {"page_size"}),
    ("list_orders", {"page_size": 1001}, "INVALID_ARGUMENT", {"page_size"}),
    ("list_orders", {"page_token": "next"}, "INVALID_ARGUMENT", {"page_token"}),
    ("delete_order", {"order_id": "no-such-order"}, "NOT_FOUND", set()),
    ("watch_orders", {"resume_token": "now"}, "INVALID_ARGUMENT", {"resume_token"}),
    ("import_orders", {"news": [TEA, NONE]}, "INVALID_ARGUMENT", {"1.quantity"}),
    ("import_orders", {"news": [TEA, ALL_WRONG]}, "INVALID_ARGUMENT", SECOND),
    ("import_orders", {"news": [KEYED | {"sku": "a"}]}, "ALREADY_EXISTS", {"0.idempotency_key"}),
    ("quote_orders", {"items": [NONE]}, "INVALID_ARGUMENT", {"0.quantity"}),
    ("quote_orders", {"items": [TEA, UNNAMED]}, "INVALID_ARGUMENT", {"1.sku"}),
]

STORED = [  # every operation that asks the store
    ("create_order", TEA),
    ("get_order", {"order_id": "any"}),
    ("list_orders", {}),
    ("delete_order", {"order_id": "any"}),
    ("watch_orders", {}),
    ("import_orders", {"news": [TEA]}),
]


async def refusal(client: Client, operation: str, content: dict[str, Any]) -> Refusal:
    """Return what the caller reads once the answer is over."""
    if operation == "quote_orders":
        content = {"items": asked(*content["items"])}
    answer = getattr(client, operation)(**content)
    with pytest.raises(RefusedError) as caught:
        await soon(everything(answer) if hasattr(answer, "__aiter__") else answer)
    return caught.value.refusal


async def everything(answers: AsyncIterator[Any]) -> list[Any]:
    return [answer async for answer in answers]


@pytest.mark.parametrize(("operation", "content", "code", "fields"), REFUSALS)
async def test_a_refusal_reads_the_same_on_both_transports(
    rest: RestClient, rpc: RpcClient, operation, content, code, fields
):
    await rest.create_order(**KEYED)
    seen = await refusal(rest, operation, content)
    assert seen == await refusal(rpc, operation, content)
    assert (seen.code, {name for name, _ in seen.fields}) == (code, fields)
    assert seen.detail


BROKEN = [  # what the store raises, what the caller reads
    (UnavailableError("the database is away"), ("UNAVAILABLE", "the database is away")),
    (KeyError("a bug, and a password"), ("INTERNAL", "internal error")),
]


@pytest.mark.parametrize(("error", "read"), BROKEN)
async def test_what_fails_in_the_store_reads_the_same_on_both_transports(
    serving: Serving, error, read
):
    async with serving(build=build_with(FailingStore(error))) as service:
        rest, rpc = RestClient(service), RpcClient(service)
        for operation, content in STORED:
            seen = await refusal(rest, operation, content)
            assert seen == await refusal(rpc, operation, content)
            assert seen == (*read, frozenset())


@pytest.mark.parametrize("make", [RestClient, RpcClient])
async def test_a_watch_that_breaks_says_why(serving: Serving, make):
    async with serving(build=build_with(BreakingStore())) as service:
        client = make(service)
        order = await client.create_order(**TEA)
        watch = client.watch_orders()
        seen = [await soon(anext(watch)) for _ in range(2)]
        assert [each["order"] for each in seen] == [None, order]
        with pytest.raises(RefusedError) as caught:
            await soon(anext(watch))
        calls = await service.ended_calls(2)
    assert caught.value.refusal == ("UNAVAILABLE", "the database has gone", frozenset())
    assert [(call.code, call.error) for call in calls] == [("OK", None), ("UNAVAILABLE", None)]


def test_the_tables_name_every_operation():
    methods = pb.DESCRIPTOR.services_by_name["OrderService"].methods
    operations = {re.sub(r"(?<!^)([A-Z])", r"_\1", method.name).lower() for method in methods}
    routes = {route.name for route in orders_router(Orders(MemoryOrderStore())).routes}
    assert routes == operations == {row[0] for row in REFUSALS}
    assert {row[0] for row in STORED} == operations - {"quote_orders"}


async def test_a_created_order_is_found_until_it_is_deleted(client: Client):
    order = await client.create_order(**TEA)
    assert order == TEA | {"id": order["id"]}
    assert re.fullmatch("[0-9a-f]{32}", order["id"])
    assert await client.get_order(order["id"]) == order
    await client.delete_order(order["id"])
    assert (await refusal(client, "get_order", {"order_id": order["id"]})).code == "NOT_FOUND"
    assert (await refusal(client, "delete_order", {"order_id": order["id"]})).code == "NOT_FOUND"


async def test_both_transports_know_the_same_orders(rest: RestClient, rpc: RpcClient):
    by_rest, by_rpc = await rest.create_order(**KEYED), await rpc.create_order(**TEA)
    assert await rpc.get_order(by_rest["id"]) == by_rest
    assert await rest.list_orders() == await rpc.list_orders()
    assert (await rest.list_orders())["orders"] == [by_rest, by_rpc]
    assert await rpc.create_order(**KEYED) == by_rest


async def test_the_same_key_gives_the_same_order_also_at_the_same_time(client: Client):
    created = await asyncio.gather(*(client.create_order(**KEYED) for _ in range(5)))
    assert {order["id"] for order in created} == {created[0]["id"]}
    assert (await client.list_orders())["orders"] == created[:1]


async def test_a_list_comes_in_pages_that_stay_stable(client: Client):
    orders = [await client.create_order(sku="tea", quantity=n) for n in range(1, 6)]
    first = await client.list_orders(page_size=2)
    await client.delete_order(orders[0]["id"])
    await client.delete_order(orders[2]["id"])
    second = await client.list_orders(page_size=2, page_token=first["next_page_token"])
    assert (first["orders"], second["orders"]) == (orders[:2], orders[3:])
    assert second["next_page_token"] == ""


async def test_an_empty_list_is_one_empty_page(client: Client):
    assert await client.list_orders() == {"orders": [], "next_page_token": ""}


async def test_a_watch_shows_what_is_new_and_resumes_where_it_was_left(client: Client):
    await client.create_order(**TEA)
    watch = client.watch_orders()
    begun = await soon(anext(watch))
    assert begun["order"] is None
    orders = [await client.create_order(sku="tea", quantity=n) for n in (2, 3)]
    seen = [await soon(anext(watch)) for _ in orders]
    assert [each["order"] for each in seen] == orders
    await watch.aclose()
    resumed = client.watch_orders(resume_token=seen[0]["resume_token"])
    assert (await soon(anext(resumed)))["resume_token"] == seen[0]["resume_token"]
    assert await soon(anext(resumed)) == seen[1]
    await resumed.aclose()


@pytest.mark.parametrize("make", [RestClient, RpcClient])
async def test_a_watch_ends_cleanly_when_the_service_stops(serving: Serving, make):
    async with serving() as service:
        watch = make(service).watch_orders()
        await soon(anext(watch))
        await service.stop()
        assert await soon(everything(watch)) == []


async def test_an_import_counts_what_was_new(client: Client):
    news = [TEA, TEA, KEYED, KEYED]
    assert await client.import_orders(news) == {"created": 3, "existing": 1}
    assert await client.import_orders([KEYED]) == {"created": 0, "existing": 1}
    assert await client.import_orders([]) == {"created": 0, "existing": 0}
    assert len((await client.list_orders())["orders"]) == 3


async def test_an_import_keeps_what_came_before_the_wrong_order(client: Client):
    await refusal(client, "import_orders", {"news": [TEA, KEYED, NONE, TEA]})
    assert len((await client.list_orders())["orders"]) == 2


async def test_each_quote_arrives_before_the_next_question_is_asked(client: Client):
    heard: asyncio.Queue[int] = asyncio.Queue()

    async def questions() -> AsyncIterator[dict[str, Any]]:
        for quantity in (1, 2, 3):
            yield {"sku": "tea", "quantity": quantity}
            assert await soon(heard.get()) == quantity

    quotes = []
    async for quote in client.quote_orders(questions()):
        quotes.append(quote)
        heard.put_nowait(quote["quantity"])
    unit = quotes[0]["unit_price_cents"]
    assert [quote["total_price_cents"] for quote in quotes] == [unit, 2 * unit, 3 * unit]


async def test_quotes_before_a_wrong_question_arrive(client: Client):
    quotes = client.quote_orders(asked(TEA, NONE, TEA))
    assert (await soon(anext(quotes)))["sku"] == "tea"
    with pytest.raises(RefusedError):
        await soon(anext(quotes))


async def test_no_question_is_answered_with_no_quote(client: Client):
    assert await soon(everything(client.quote_orders(asked()))) == []
