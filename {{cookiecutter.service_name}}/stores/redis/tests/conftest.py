"""What is tested: this service, on free ports; the other fixtures come from twinport.testing."""

from collections.abc import Awaitable, Callable, Iterator

import pytest
from twinport import Service
from twinport.testing import free

from {{ cookiecutter.__package }} import app
from {{ cookiecutter.__package }}.settings import Settings

from .database import NOWHERE, client, redis_server


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis."""
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def database(redis: str) -> str:
    """The URL of a Redis with nothing in it."""
    if redis != NOWHERE:
        client(redis).flushall()
    return redis


@pytest.fixture
def required(database: str) -> dict[str, object]:
    """What has no default, or is another one for tests: {"orders.house": "Earl"}."""
    return {"database.url": database}


@pytest.fixture
def settings(required: dict[str, object]) -> Settings:
    return free(Settings, required)


@pytest.fixture
def build(database: str) -> Callable[..., Awaitable[None]]:
    """The wiring of app.py; another one here, for tests without its database."""
    return build_alone if database == NOWHERE else app.build


async def build_alone(service: Service, settings: Settings) -> None:
    """Do the same; a process, which is ready only with its Redis, is not tested with it."""
    await app.build(service, settings)
