"""SQLite: one file, for a single replica; what is committed is on the disk."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import URL, event, text
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
from sqlalchemy.ext.asyncio import AsyncConnection

from .database import Database
from .settings import DatabaseSettings

LOOK_S = 0.25  # how often to look whether another process has written
DATA_VERSION = text("PRAGMA data_version")


class SqliteDatabase(Database):
    """A file; its transactions that write are done one after the other."""

    def __init__(self, url: URL, settings: DatabaseSettings) -> None:
        timeout_s = settings.timeout.total_seconds()
        # by its module, which OpenTelemetry changes after this one was imported
        engine = sqlalchemy_asyncio.create_async_engine(
            url,
            pool_size=settings.pool,
            max_overflow=0,
            pool_timeout=timeout_s,
            connect_args={"timeout": timeout_s},  # for the lock of the file
        )
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "invalidate", _interrupt)
        super().__init__(engine)
        self._turn = asyncio.Lock()  # SQLite's own lock is not fair, and waits by sleeping

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        async with self._turn, super().writing() as connection:
            # at once, also for statements that change tables, before which the driver begins none
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    async def announce(self, connection: AsyncConnection, channel: str) -> None:
        """Do nothing: whoever follows sees that the file has changed."""

    async def _listen(self, channel: str, wake: Callable[[], None]) -> None:
        async with self.reading() as connection:
            await _look(connection, wake)


async def _look(connection: AsyncConnection, wake: Callable[[], None]) -> None:
    seen = None
    while True:
        version = await connection.scalar(DATA_VERSION)  # another one when others have committed
        if version != seen:
            seen = version
            wake()
        await asyncio.sleep(LOOK_S)


def _prepare(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")  # who reads waits for nobody who writes
    cursor.execute("PRAGMA synchronous = FULL")  # a commit is on the disk, not only written
    cursor.close()


def _interrupt(connection: Any, *_: object) -> None:
    """End the statement under way, whose caller has left: else closing waits for its end."""
    connection.run_async(_interrupted)


async def _interrupted(driver: Any) -> None:
    await driver.interrupt()
