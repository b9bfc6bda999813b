"""Databases for tests: a file of SQLite, or on the PostgreSQL that TEST_POSTGRESQL names."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

import {{ cookiecutter.__package }} as package
from {{ cookiecutter.__package }}.database.migrate import migrate
from {{ cookiecutter.__package }}.database.settings import DatabaseSettings

SERVER = os.environ.get("TEST_POSTGRESQL", "")  # such as postgresql://postgres@localhost/postgres
FEATURES = sorted(Path(package.__file__).parent.glob("*/migrations"))
NUMBERS = count(1)


def settings_of(url: str) -> DatabaseSettings:
    return DatabaseSettings(url=SecretStr(url))


@contextmanager
def with_schema(folder: Path) -> Iterator[str]:
    """Yield the URL of a database with the present schema, which others are copied from."""
    url = f"sqlite:///{folder / 'empty.db'}"
    if SERVER:
        url = on_server(f"test_{os.getpid()}")
        asyncio.run(tell(f'CREATE DATABASE "{name_of(url)}"'))
    asyncio.run(migrate(settings_of(url), FEATURES))
    yield url
    if SERVER:
        asyncio.run(tell(f'DROP DATABASE "{name_of(url)}"'))


@contextmanager
def copy_of(empty: str, folder: Path) -> Iterator[str]:
    """Yield the URL of a database like `empty`; on a server it is dropped at the end."""
    if SERVER:
        name = f"{name_of(empty)}_{next(NUMBERS)}"
        asyncio.run(tell(f'CREATE DATABASE "{name}" TEMPLATE "{name_of(empty)}"'))
        yield on_server(name)
        asyncio.run(tell(f'DROP DATABASE "{name}" WITH (FORCE)'))
        return
    if Path(name_of(empty)).exists():  # else no feature has a table
        shutil.copy(name_of(empty), folder / "test.db")
    yield f"sqlite:///{folder / 'test.db'}"


def name_of(url: str) -> str:
    return make_url(url).database or ""


def on_server(name: str) -> str:
    return make_url(SERVER).set(database=name).render_as_string(hide_password=False)


async def tell(statement: str) -> None:
    """Let the server do what no transaction may have in it."""
    url = make_url(SERVER).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()
