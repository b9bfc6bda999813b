"""A pool of connections, its transactions, and what their errors are to callers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from loguru import logger
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFreeError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from twinport import UnavailableError

RETRY_S = 0.5

# Classes of SQLSTATE after which the same may succeed later: connection, credentials, no such
# database, another transaction was in the way, resources, operator's intervention.
PASSING = ("08", "28", "3D", "40", "53", "57")


class Database:
    """What SQLite and PostgreSQL have in common; connects when it is first used."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Lend a connection; raises UnavailableError."""
        with translated():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Lend a connection for a transaction, committed at the end; raises UnavailableError."""
        with translated():
            async with self._engine.begin() as connection:
                yield connection

    async def close(self) -> None:
        await self._engine.dispose()

    async def announce(self, connection: AsyncConnection, channel: str) -> None:
        """Wake whoever follows `channel`, in other processes too, when this is committed."""
        raise NotImplementedError

    async def follow(self, channel: str, wake: Callable[[], None]) -> None:
        """Call `wake` whenever something may have been announced; goes on after an outage."""
        reason = ""
        while True:
            reason = await self._heard(channel, wake, reason)
            await asyncio.sleep(RETRY_S)

    async def _heard(self, channel: str, wake: Callable[[], None], before: str) -> str:
        """Listen, and return why that came to an end, which is said unless it is as `before`."""
        try:
            await self._listen(channel, wake)
        except UnavailableError as error:
            reason = repr(error.__cause__)
        else:
            reason = "the connection was lost"
        if reason != before:
            logger.warning("the database is away: {}", reason)
        return reason

    async def _listen(self, channel: str, wake: Callable[[], None]) -> None:
        """Do so until the connection is lost; raises UnavailableError."""
        raise NotImplementedError


@contextmanager
def translated() -> Iterator[None]:
    """Raise UnavailableError in place of what is no fault of a statement."""
    try:
        yield
    except (InterfaceError, OperationalError, NoConnectionFreeError, OSError) as error:
        raise UnavailableError("the database is away") from error
    except Exception as error:
        if not _passes(error):
            raise
        raise UnavailableError("the database is away") from error


def _passes(error: Exception) -> bool:
    """Tell whether the same may succeed later; a driver's own error comes from connecting."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    driver_error = getattr(error, "orig", None) or error
    return str(getattr(driver_error, "sqlstate", None) or "").startswith(PASSING)
