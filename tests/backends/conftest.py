"""The services of the demo, and real backends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.services import installed, serving
from tools.zipkin import Zipkin, zipkin

# Kept, so that the installations are quick the next time.
FOLDER = Path(__file__).parents[2] / ".build/backends"


@pytest.fixture(scope="session")
def pair() -> tuple[Path, Path]:
    """Both services, installed: order-book, and checkout, which calls it."""
    return installed(FOLDER)


@pytest.fixture(scope="session")
def order_book(pair: tuple[Path, Path]) -> Path:
    return pair[0]


@pytest.fixture(scope="session")
def server() -> Iterator[Zipkin]:
    with zipkin() as server:
        yield server


@pytest.fixture(scope="session")
def checkout_port(server: Zipkin, pair: tuple[Path, Path]) -> Iterator[int]:
    """The REST port of checkout, whose calls go on to order-book; both tell `server`."""
    with serving(*pair, server.endpoint) as (checkout, _):
        yield checkout.ports().http
