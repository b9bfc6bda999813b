"""A service of each store that lasts."""

from pathlib import Path

import pytest

from tests.baking import TEMPLATE, installed_in

FOLDER = TEMPLATE / ".build/stores"  # kept, so that the installations are quick the next time


@pytest.fixture(scope="session")
def services() -> dict[str, Path]:
    return {store: installed_in(FOLDER / store, store=store) for store in ("sql", "redis")}
