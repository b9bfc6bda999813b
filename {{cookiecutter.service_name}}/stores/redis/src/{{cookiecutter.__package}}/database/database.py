"""A pool of connections to Redis, and what its errors are to callers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from loguru import logger
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as AwayError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as SilentError
from twinport import FailedPreconditionError, ResourceExhaustedError, UnavailableError

from .settings import DatabaseSettings

RETRY_S = 0.5
BLOCK_S = 1.0  # how long Redis waits for something new before it answers that there is nothing

PASSING = ("MISCONF", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN", "UNBLOCKED")


class Database:
    """Redis, connected to when it is first used; one connection more than the pool listens."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._pool = _pool(settings, settings.pool)
        self._redis = Redis(connection_pool=self._pool)
        self._listening = _pool(settings, 1)

    @contextmanager
    def lent(self) -> Iterator[Redis]:
        """Lend the client; raises UnavailableError and ResourceExhaustedError."""
        with translated():
            yield self._redis

    async def check(self) -> None:
        """Raise if Redis is away, or would lose with a restart what it has acknowledged."""
        with self.lent() as redis:
            persistence = await redis.info("persistence")
        if not persistence["aof_enabled"]:
            raise FailedPreconditionError("Redis has to keep what it takes: appendonly yes")

    async def follow(self, stream: str, wake: Callable[[], None]) -> None:
        """Call `wake` whenever the stream may have grown; goes on after an outage."""
        reason = ""
        while True:
            reason = await self._heard(stream, wake, reason)
            await asyncio.sleep(RETRY_S)

    async def _heard(self, stream: str, wake: Callable[[], None], before: str) -> str:
        """Listen, and return why that came to an end, which is said unless it is as `before`."""
        reason = ""
        try:
            with translated():
                await self._listen(stream, wake)
        except UnavailableError as error:
            reason = repr(error.__cause__)
        if reason != before:
            logger.warning("Redis is away: {}", reason)
        return reason

    async def _listen(self, stream: str, wake: Callable[[], None]) -> None:
        redis = Redis(connection_pool=self._listening)
        await redis.ping()
        logger.info("listening to {}", stream)
        while True:
            newest: Any = await redis.xrevrange(stream, count=1)
            wake()  # the first time for what came while nobody listened
            await _grown(redis, stream, newest[0][0] if newest else "0-0")

    async def close(self) -> None:
        await self._listening.disconnect()
        await self._pool.disconnect()


async def _grown(redis: Redis, stream: str, last: str) -> None:
    """Wait until the stream has an entry behind `last`."""
    while not await redis.xread({stream: last}, count=1, block=int(BLOCK_S * 1000)):
        _end_if_cancelled()


def _end_if_cancelled() -> None:
    """Raise what redis-py sometimes loses: `wait_for` of Python 3.11, by which it sends, does."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _pool(settings: DatabaseSettings, size: int) -> BlockingConnectionPool:
    timeout_s = settings.timeout.total_seconds()
    return BlockingConnectionPool.from_url(
        settings.url.get_secret_value(),
        max_connections=size,
        timeout=timeout_s,
        socket_timeout=timeout_s + BLOCK_S,
        socket_connect_timeout=timeout_s,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),  # none: the caller knows whether the same may be done again
    )


@contextmanager
def translated() -> Iterator[None]:
    """Raise an error for callers in place of what is no fault of a command."""
    try:
        yield
    except OutOfMemoryError as error:
        raise ResourceExhaustedError("Redis is full") from error
    except (AwayError, SilentError, ReadOnlyError, OSError) as error:
        raise UnavailableError("Redis is away") from error
    except ResponseError as error:
        if not str(error).startswith(PASSING):
            raise
        raise UnavailableError("Redis is away") from error


@asynccontextmanager
async def connected(settings: DatabaseSettings) -> AsyncIterator[Database]:
    """Lend Redis, which is connected to when it is first used; close the pool at the end."""
    database = Database(settings)
    try:
        yield database
    finally:
        await database.close()
