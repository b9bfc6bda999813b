"""Services with a store, and the servers that they keep it in."""

from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

from tests.baking import TEMPLATE, command

FOLDER = TEMPLATE / ".build/stores"  # kept, so that the installations are quick the next time


@pytest.fixture(scope="session")
def services() -> dict[str, Path]:
    """A service of each store, installed."""
    return {store: installed(store) for store in ("sql", "redis")}


def installed(store: str) -> Path:
    answers = {"service_name": "order-book", "store": store}
    place = {"output_dir": str(FOLDER / store), "overwrite_if_exists": True}
    service = Path(cookiecutter(str(TEMPLATE), no_input=True, extra_context=answers, **place))
    done = command("make", "install", cwd=service)
    assert done.returncode == 0, done.stdout
    return service
