"""The stores that keep what test_store.py promises, each as two replicas have it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from {{ cookiecutter.__package }}.database.connect import connected
from {{ cookiecutter.__package }}.database.settings import DatabaseSettings
from {{ cookiecutter.__package }}.orders.store import SqlOrderStore
from {{ cookiecutter.__package }}.settings import Settings

from .stores import Kind, Replicas, memory


@asynccontextmanager
async def sql(settings: Settings) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(sql_store(settings.database)),
            await stack.enter_async_context(sql_store(settings.database)),
        )


@asynccontextmanager
async def sql_store(settings: DatabaseSettings) -> AsyncIterator[SqlOrderStore]:
    """Lend a store with connections of its own, which hears of the others."""
    async with connected(settings) as database:
        store = SqlOrderStore(database)
        following = asyncio.create_task(store.follow())
        try:
            yield store
        finally:
            store.end_watches()
            following.cancel()
            await asyncio.wait([following])


KINDS: Mapping[str, Kind] = {"memory": memory, "sql": sql}
