"""What only the store in a database has: tables, queries that end early, errors, spans."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr, ValidationError
from sqlalchemy import Connection, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection
from twinport import UnavailableError
from twinport.testing import FakeZipkin, RefusedError, Serving, free, running

import {{ cookiecutter.__package }} as package
from {{ cookiecutter.__package }} import app
from {{ cookiecutter.__package }}.__main__ import main
from {{ cookiecutter.__package }}.database import postgresql
from {{ cookiecutter.__package }}.database.connect import connected
from {{ cookiecutter.__package }}.database.database import Database
from {{ cookiecutter.__package }}.database.settings import DatabaseSettings
from {{ cookiecutter.__package }}.orders.model import Order
from {{ cookiecutter.__package }}.orders.store import TABLES, SqlOrderStore
from {{ cookiecutter.__package }}.settings import Settings

from ..database import SERVER, settings_of
from .clients import RestClient, RpcClient
from .kinds import sql_store
from .silence import Proxy, silent_proxy
from .test_store import soon

HOME = Path(__file__).parents[2]
TEA = {"sku": "tea", "quantity": 1}
WITHOUT_END = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT max(n) FROM n"
SLOW = "SELECT pg_sleep(600)" if SERVER else WITHOUT_END
RUNNING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
)
WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
NOBODY = "postgresql://tea@127.0.0.1:1/tea"


async def test_the_tables_are_those_of_the_migrations(settings: Settings):
    def differences(connection: Connection) -> list[object]:
        found = compare_metadata(MigrationContext.configure(connection), TABLES)
        return [each for each in found if each[0] != "remove_table"]  # of other features, Alembic's

    async with connected(settings.database) as database, database.reading() as connection:
        assert await connection.run_sync(differences) == []


async def answer(database: Database, query: str) -> int:
    """Ask in a transaction of its own, as what is under way is seen once in each."""
    async with database.reading() as connection:
        count: int = await connection.scalar(text(query))
    return count


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
        while SERVER and await answer(database, RUNNING):
            pass  # it has just been told
        async with database.writing() as connection:  # the pool is whole, nothing is locked
            assert await connection.scalar(text("SELECT 1")) == 1


@pytest.mark.skipif(not SERVER, reason="a file is never silent")
async def test_a_call_that_is_cancelled_does_not_wait_for_a_server_that_is_silent(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(postgresql, "CLOSING_S", 600)  # so that none is closed in the meantime
    server = make_url(settings.database.url.get_secret_value())
    async with silent_proxy(server) as (url, proxy):
        proxied = settings_of(url.render_as_string(hide_password=False))
        async with connected(proxied) as database:
            await ask_in_vain(database, proxy)
            proxy.hang_up()


async def ask_in_vain(database: Database, proxy: Proxy) -> None:
    async with database.reading() as connection:
        await connection.execute(text("SELECT 1"))
        proxy.be_silent()
        asking = asyncio.create_task(connection.execute(text("SELECT 2")))
        await proxy.asked.wait()
        asking.cancel()
        await asyncio.wait([asking], timeout=20)
        assert asking.cancelled()
        await asyncio.wait([asyncio.ensure_future(proxy.gone.wait())], timeout=0.2)
        assert not proxy.gone.is_set()  # its connection is still there


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


async def test_an_order_that_has_its_place_is_committed_before_those_behind_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    """A sequence would let the second one overtake, and a watch that has seen it lose the first."""
    async with connected(settings.database) as held, sql_store(settings.database) as other:
        placed, go_on = held_before_its_commit(held, monkeypatch)
        async with aclosing(other.watch(0)) as watch:
            seeing = asyncio.ensure_future(anext(watch))
            first = asyncio.create_task(SqlOrderStore(held).add(order(1), ""))
            await placed.wait()
            second = asyncio.create_task(other.add(order(2), ""))
            await overtaken_or_waiting(second, held)
            overtook = second.done()
            go_on.set()
            await asyncio.gather(first, second)
            seen = [await soon(seeing)]
            assert not overtook
            seen.append(await soon(anext(watch)))
        assert [placed.order for placed in seen] == [order(1), order(2)]
        assert await other.page(0, 10) == seen


@pytest.mark.skipif(not SERVER, reason="a file has one transaction that writes")
async def test_of_two_transactions_that_commit_the_other_way_round_a_watch_loses_neither(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    async with connected(settings.database) as held, sql_store(settings.database) as other:
        begun, go_on, writing = asyncio.Event(), asyncio.Event(), held.writing

        @asynccontextmanager
        async def write_late() -> AsyncIterator[AsyncConnection]:
            async with writing() as connection:
                await connection.execute(text("SELECT pg_current_xact_id()"))
                begun.set()
                await go_on.wait()
                yield connection

        monkeypatch.setattr(held, "writing", write_late)
        async with aclosing(other.watch(0)) as watch:
            first = asyncio.create_task(SqlOrderStore(held).add(order(1), ""))
            await begun.wait()
            await other.add(order(2), "")
            seen = [await soon(anext(watch))]
            go_on.set()
            await first
            seen.append(await soon(anext(watch)))
        assert [placed.order for placed in seen] == [order(2), order(1)]
        assert await other.page(0, 10) == seen


@pytest.mark.skipif(not SERVER, reason="a file has no connection that could be lost")
async def test_watches_go_on_after_a_connection_that_was_lost_before_it_listened(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    wake_by, numbers = postgresql._wake_by, count()

    async def lost_at_first(connection: Any, channel: str, wake: Callable[[], None]) -> None:
        if next(numbers) == 0:
            await connection.close()
        await wake_by(connection, channel, wake)

    monkeypatch.setattr(postgresql, "_wake_by", lost_at_first)
    async with (
        connected(settings.database) as other,
        sql_store(settings.database) as store,
        aclosing(store.watch(0)) as watch,
    ):
        for number in range(3):
            seeing = asyncio.ensure_future(anext(watch))
            await SqlOrderStore(other).add(order(number), "")
            assert (await soon(seeing)).order == order(number)


def held_before_its_commit(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> tuple[asyncio.Event, asyncio.Event]:
    """Return what says that an order has its place, and what lets it be committed."""
    placed, go_on, announce = asyncio.Event(), asyncio.Event(), database.announce

    async def announce_late(connection: AsyncConnection, channel: str) -> None:
        placed.set()
        await go_on.wait()
        await announce(connection, channel)

    monkeypatch.setattr(database, "announce", announce_late)
    return placed, go_on


async def overtaken_or_waiting(adding: "asyncio.Task[Order]", database: Database) -> None:
    """Let an order be added, or wait for another transaction, which nothing says of a file."""
    if not SERVER:
        await asyncio.wait([adding], timeout=0.5)
    while SERVER and not adding.done() and not await answer(database, WAITING):
        pass


def order(number: int) -> Order:
    return Order(id=f"{number:032x}", sku="tea", quantity=1)


@pytest.mark.parametrize("make", [RestClient, RpcClient])
async def test_with_a_database_that_is_away_a_call_is_unavailable(
    serving: Serving, required: dict[str, object], make
):
    away = free(Settings, required | {"database.url": NOBODY})
    async with serving(settings=away) as service:
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


def test_a_query_is_a_span_without_its_values(required: dict[str, object], build: object):
    if build is not app.build:
        pytest.skip("a process wires app.build, which these tests go without")
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
