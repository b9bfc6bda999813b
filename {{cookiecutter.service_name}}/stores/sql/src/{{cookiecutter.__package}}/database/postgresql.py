"""PostgreSQL: for several replicas, which hear of each other by LISTEN and NOTIFY."""

import asyncio
from collections.abc import Callable
from typing import Any

from loguru import logger
from sqlalchemy import URL, NullPool, func, select
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
from sqlalchemy.ext.asyncio import AsyncConnection

from .database import Database, translated
from .settings import DatabaseSettings

BEAT_S = 5.0  # how often the connection that listens is tried

# What the server does for a replica that has gone without a word: of its locks others wait for.
SERVER_SETTINGS = {
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class PostgresqlDatabase(Database):
    """A server; one connection more than the pool has is the one that listens."""

    def __init__(self, url: URL, settings: DatabaseSettings) -> None:
        timeout_s = settings.timeout.total_seconds()
        self._arguments = {"timeout": timeout_s, "server_settings": SERVER_SETTINGS}
        self._url = url
        # by its module, which OpenTelemetry changes after this one was imported
        engine = sqlalchemy_asyncio.create_async_engine(
            url,
            pool_size=settings.pool,
            max_overflow=0,
            pool_timeout=timeout_s,
            connect_args=self._arguments,
        )
        super().__init__(engine)

    async def announce(self, connection: AsyncConnection, channel: str) -> None:
        await connection.execute(select(func.pg_notify(channel, "")))

    async def _listen(self, channel: str, wake: Callable[[], None]) -> None:
        engine = sqlalchemy_asyncio.create_async_engine(
            self._url, poolclass=NullPool, connect_args=self._arguments
        )
        with translated():
            async with engine.connect() as connection:
                raw = await connection.get_raw_connection()
                await _wake_by(raw.driver_connection, channel, wake)


async def _wake_by(connection: Any, channel: str, wake: Callable[[], None]) -> None:
    """Call `wake` for each NOTIFY until this connection of asyncpg is lost."""
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    await connection.add_listener(channel, lambda *_: wake())
    logger.info("listening to {}", channel)
    wake()  # for what was announced meanwhile
    while not await _within(lost, BEAT_S):
        await connection.execute("SELECT 1", timeout=BEAT_S)


async def _within(event: asyncio.Event, time_s: float) -> bool:
    try:
        async with asyncio.timeout(time_s):
            return await event.wait()
    except TimeoutError:
        return False
