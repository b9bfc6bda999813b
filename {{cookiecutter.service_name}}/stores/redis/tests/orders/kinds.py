"""The stores that keep what test_store.py promises, each as two replicas have it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from {{ cookiecutter.__package }}.database.database import connected
from {{ cookiecutter.__package }}.database.settings import DatabaseSettings
from {{ cookiecutter.__package }}.orders.store import RedisOrderStore
from {{ cookiecutter.__package }}.settings import Settings

from ..database import NOWHERE
from .stores import Kind, Replicas, memory


@asynccontextmanager
async def redis(settings: Settings) -> AsyncIterator[Replicas]:
    if settings.database.url.get_secret_value() == NOWHERE:
        pytest.skip("redis-server is not installed")
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(redis_store(settings.database)),
            await stack.enter_async_context(redis_store(settings.database)),
        )


@asynccontextmanager
async def redis_store(settings: DatabaseSettings) -> AsyncIterator[RedisOrderStore]:
    """Lend a store with connections of its own, which hears of the others."""
    async with connected(settings) as database:
        store = RedisOrderStore(database)
        following = asyncio.create_task(store.follow())
        try:
            yield store
        finally:
            store.end_watches()
            following.cancel()
            await asyncio.wait([following])


KINDS: Mapping[str, Kind] = {"memory": memory, "redis": redis}
