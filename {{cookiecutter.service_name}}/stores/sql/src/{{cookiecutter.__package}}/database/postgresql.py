"""PostgreSQL: for several replicas, which hear of each other by LISTEN and NOTIFY."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from loguru import logger
from sqlalchemy import URL, NullPool, func, select
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
from sqlalchemy.ext.asyncio import AsyncConnection
from twinport import UnavailableError

from .database import Database, translated
from .settings import DatabaseSettings

BEAT_S = 5.0  # how often the connection that listens is tried
CLOSING_S = 2.0  # how long a server may take to end the query of a caller who has left

# What the server does for a replica that has gone without a word: of its locks others wait for.
SERVER_SETTINGS = {
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class PromptDialect(PGDialect_asyncpg):
    """Closes the connection of a cancelled call behind its back.

    SQLAlchemy's own lets the call wait for it, past its deadline where the server is silent.
    """

    supports_statement_cache = True

    closing: ClassVar[set[asyncio.Task[None]]] = set()  # which the loop alone would forget

    def do_terminate(self, dbapi_connection: Any) -> None:
        task = asyncio.create_task(_closed(dbapi_connection.driver_connection))
        self.closing.add(task)
        task.add_done_callback(self.closing.discard)


async def _closed(connection: Any) -> None:
    """Let the server end what is under way, then close; asyncpg cuts it off where that fails."""
    with suppress(Exception):
        await connection.close(timeout=CLOSING_S)


class PostgresqlDatabase(Database):
    """A server; one connection more than the pool has is the one that listens."""

    def __init__(self, url: URL, settings: DatabaseSettings) -> None:
        timeout_s = settings.timeout.total_seconds()
        self._arguments = {"timeout": timeout_s, "server_settings": SERVER_SETTINGS}
        registry.register("postgresql.prompt", __name__, PromptDialect.__name__)
        self._url = url.set(drivername="postgresql+prompt")
        # by its module, which OpenTelemetry changes after this one was imported
        engine = sqlalchemy_asyncio.create_async_engine(
            self._url,
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
    try:
        await connection.add_listener(channel, lambda *_: wake())
        logger.info("listening to {}", channel)
        wake()  # for what was announced meanwhile
        while not await _within(lost, BEAT_S):
            await connection.execute("SELECT 1", timeout=BEAT_S)
    except Exception as error:
        if not connection.is_closed():
            raise
        raise UnavailableError("the connection was lost") from error


async def _within(event: asyncio.Event, time_s: float) -> bool:
    try:
        async with asyncio.timeout(time_s):
            return await event.wait()
    except TimeoutError:
        return False
