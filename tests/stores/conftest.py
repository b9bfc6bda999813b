"""A service of each store that lasts, and PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.baking import TEMPLATE, installed_in
from tests.stores.servers import Postgresql, Server

FOLDER = TEMPLATE / ".build/stores"  # kept, so that the installations are quick the next time


@pytest.fixture(scope="session")
def services() -> dict[str, Path]:
    as_imported = "UV_COMPILE_BYTECODE=0"  # most of what is installed never is
    return {each: installed_in(FOLDER / each, as_imported, store=each) for each in ("sql", "redis")}


@pytest.fixture
def postgresql() -> Iterator[Server]:
    with TemporaryDirectory(prefix="postgresql") as folder:
        Path(folder).chmod(0o711)  # for the user of the server; those of pytest are for nobody else
        server = Postgresql(Path(folder))
        server.start()
        yield server
        server.stop()
