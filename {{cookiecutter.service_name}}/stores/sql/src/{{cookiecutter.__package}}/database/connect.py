"""Opens the database that the settings name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import make_url

from .database import Database
from .postgresql import PostgresqlDatabase
from .settings import DRIVERS, DatabaseSettings
from .sqlite import SqliteDatabase

KINDS = {"sqlite": SqliteDatabase, "postgresql": PostgresqlDatabase}


@asynccontextmanager
async def connected(settings: DatabaseSettings) -> AsyncIterator[Database]:
    """Lend the database, which connects when it is first used; close its pool at the end."""
    url = make_url(settings.url.get_secret_value())
    database = KINDS[url.drivername](url.set(drivername=DRIVERS[url.drivername]), settings)
    try:
        yield database
    finally:
        await database.close()
