"""What Redis is to the service while it is away."""

import asyncio

from loguru import logger
from pydantic import SecretStr

from {{ cookiecutter.__package }}.database.database import connected
from {{ cookiecutter.__package }}.database.settings import DatabaseSettings

NOBODY = SecretStr("redis://127.0.0.1:1")


async def test_while_redis_is_away_the_log_does_not_say_that_it_listens():
    lines: asyncio.Queue[str] = asyncio.Queue()
    sink = logger.add(lines.put_nowait, format="{message}")
    try:
        async with connected(DatabaseSettings(url=NOBODY)) as database:
            following = asyncio.create_task(database.follow("orders", lambda: None))
            assert (await lines.get()).startswith("Redis is away")
            following.cancel()
    finally:
        logger.remove(sink)
