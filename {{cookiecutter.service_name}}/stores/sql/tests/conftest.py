"""What is tested: this service, on free ports; the other fixtures come from twinport.testing."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from twinport.testing import free

from {{ cookiecutter.__package }} import app
from {{ cookiecutter.__package }}.settings import Settings

from .database import copy_of, with_schema


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with with_schema(tmp_path_factory.mktemp("database")) as url:
        yield url


@pytest.fixture
def database(empty: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with the present schema and nothing in it."""
    with copy_of(empty, tmp_path) as url:
        yield url


@pytest.fixture
def required(database: str) -> dict[str, object]:
    """What has no default, or is another one for tests: {"orders.house": "Earl"}."""
    return {"database.url": database, "database.shared": False}


@pytest.fixture
def settings(required: dict[str, object]) -> Settings:
    return free(Settings, required)


@pytest.fixture
def build() -> Callable[..., Awaitable[None]]:
    """The wiring of app.py; another one here, for tests without its database."""
    return app.build
