"""What only the store in a database has: tables, queries that end early, errors, spans."""

import asyncio
import json
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr, ValidationError
from sqlalchemy import Connection, text
from twinport import UnavailableError
from twinport.testing import FakeZipkin, RefusedError, Serving, free, running

import {{ cookiecutter.__package }} as package
from {{ cookiecutter.__package }}.__main__ import main
from {{ cookiecutter.__package }}.database.connect import connected
from {{ cookiecutter.__package }}.database.settings import DatabaseSettings
from {{ cookiecutter.__package }}.orders.model import Order
from {{ cookiecutter.__package }}.orders.store import TABLES, SqlOrderStore
from {{ cookiecutter.__package }}.settings import Settings

from ..database import SERVER
from .clients import RestClient, RpcClient

HOME = Path(__file__).parents[2]
TEA = {"sku": "tea", "quantity": 1}
WITHOUT_END = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT max(n) FROM n"
SLOW = "SELECT pg_sleep(600)" if SERVER else WITHOUT_END
RUNNING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
)
NOBODY = "postgresql://tea@127.0.0.1:1/tea"


async def test_the_tables_are_those_of_the_migrations(settings: Settings):
    def differences(connection: Connection) -> list[object]:
        found = compare_metadata(MigrationContext.configure(connection), TABLES)
        return [each for each in found if each[0] != "remove_table"]  # of other features, Alembic's

    async with connected(settings.database) as database, database.reading() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_query_ends_when_nobody_waits_for_it_any_more(settings: Settings):
    async with connected(settings.database) as database:

        async def ask() -> None:
            async with database.reading() as connection:
                await connection.execute(text(SLOW))

        asking = asyncio.create_task(ask())
        await asyncio.wait([asking], timeout=0.5)  # it is under way now
        asking.cancel()
        await asyncio.wait([asking], timeout=20)
        assert asking.cancelled()
        async with database.writing() as connection:  # the pool is whole, nothing is locked
            assert await connection.scalar(text(RUNNING if SERVER else "SELECT 0")) == 0


async def test_an_order_whose_caller_has_left_is_kept_whole_or_not_at_all(settings: Settings):
    async with connected(settings.database) as database:
        store = SqlOrderStore(database)
        for number in range(20):
            key = f"key-{number}"
            adding = asyncio.create_task(store.add(order(number), key))
            await asyncio.wait([adding], timeout=number / 1000)
            adding.cancel()
            await asyncio.wait([adding])
            again = await store.add(order(number + 100), key)
            assert again == await store.find(again.id)
        assert len(await store.page(0, 100)) == 20


def order(number: int) -> Order:
    return Order(id=f"{number:032x}", sku="tea", quantity=1)


@pytest.mark.parametrize("make", [RestClient, RpcClient])
async def test_with_a_database_that_is_away_a_call_is_unavailable(serving: Serving, make):
    async with serving(settings=free(Settings, {"database.url": NOBODY})) as service:
        with pytest.raises(RefusedError) as caught:
            await make(service).create_order(**TEA)
    assert caught.value.refusal.code == "UNAVAILABLE"


async def test_a_call_that_finds_no_connection_free_in_time_is_unavailable(settings: Settings):
    update = {"pool": 1, "timeout": settings.database.timeout / 50}
    async with connected(settings.database.model_copy(update=update)) as database:
        store = SqlOrderStore(database)
        async with database.reading():
            ending = await asyncio.gather(store.end(), return_exceptions=True)
        assert [type(end) for end in (*ending, await store.end())] == [UnavailableError, int]


def test_a_query_is_a_span_without_its_values(required: dict[str, object]):
    with FakeZipkin() as zipkin:
        traces = {"traces.exporter": "zipkin", "traces.endpoint": zipkin.endpoint}
        command = [sys.executable, "-m", package.__name__, "run"]
        with running(command, HOME, required | traces) as process:
            create(process.ports().http, TEA | {"idempotency_key": "my-secret"})
            spans = zipkin.wait_for(lambda spans: any(map(is_insert, spans)))
    assert "my-secret" not in str(spans)


def create(port: int, order: dict[str, object]) -> None:
    headers = {"content-type": "application/json"}
    request = Request(f"http://127.0.0.1:{port}/v1/orders", json.dumps(order).encode(), headers)
    urlopen(request, timeout=20).close()


def is_insert(span: dict[str, object]) -> bool:
    return "INSERT INTO orders" in str(span)


def test_the_url_is_a_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(HOME)
    url = "--set=database.url=postgresql://tea:my-secret@localhost/tea"
    for arguments in (("show", url), ("check", f"{url}:wrong://")):
        monkeypatch.setattr(sys, "argv", ["", "config", *arguments])
        main()
        shown = capsys.readouterr()
        assert "my-secret" not in shown.out + shown.err


@pytest.mark.parametrize("url", ["mysql://localhost/tea", "tea", "", "sqlite+pysqlite:///tea.db"])
def test_a_database_of_another_kind_is_refused(url: str):
    with pytest.raises(ValidationError, match="must be"):
        DatabaseSettings(url=SecretStr(url))
