"""The services of the demo, and real backends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet import bake, make
from run import installed, serving
from zipkin import Zipkin, zipkin

# Kept, so that the installations are quick the next time.
FOLDER = Path(__file__).parents[2] / ".build/backends"


@pytest.fixture(scope="session")
def order_book() -> Path:
    """One service, installed."""
    project = bake("order-book", FOLDER / "one")
    make(project, "install")
    return project


@pytest.fixture(scope="session")
def server() -> Iterator[Zipkin]:
    with zipkin() as server:
        yield server


@pytest.fixture(scope="session")
def checkout_port(server: Zipkin) -> Iterator[int]:
    """The REST port of checkout, which calls order-book; both send their spans to `server`."""
    with serving(*installed(FOLDER / "two"), server.endpoint) as (checkout, _):
        yield checkout.ports()["http"]
