"""Fixtures for the tests of a service; pytest loads them wherever this library is installed.

What is tested says the service, in its conftest.py, by two fixtures of its own: `settings` returns
its settings, `build` the function of its app.py. A folder, a module or a class of tests may have
other ones; a fixture is where a database or a pool comes from that a `build` of tests is to use.
"""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from .local import LocalService

Fixture = TypeVar("Fixture", bound=Callable[..., Any])
Serving = Callable[..., AbstractAsyncContextManager["LocalService"]]

ASYNCIO = "pytest_asyncio"  # in its strict mode, it sees to fixtures of its own only


def _async_fixture(function: Fixture) -> Fixture:
    fixture: Any = import_module(ASYNCIO).fixture if find_spec(ASYNCIO) else pytest.fixture
    made: Fixture = fixture(function)
    return made


@pytest.fixture(scope="session")
def short_tracebacks() -> None:
    """Loguru shows no values of variables, for which it would parse each file of a traceback."""
    logger = import_module("loguru").logger
    with suppress(ValueError):  # somebody has removed it
        logger.remove(0)
        logger.add(sys.stderr, diagnose=False)


@pytest.fixture
def serving(settings: Any, build: Any, short_tracebacks: None) -> Serving:
    """Starts a service, with the fixtures `settings` and `build` where it is given no others.

    `async with serving() as service`, `async with serving(build=with_a_full_disk) as service`.
    """
    local = import_module(".local", __package__)

    def start(
        settings: Any = settings, build: Any = build
    ) -> AbstractAsyncContextManager["LocalService"]:
        started: AbstractAsyncContextManager[LocalService] = local.serving(settings, build)
        return started

    return start


@_async_fixture
async def service(serving: Serving) -> AsyncIterator["LocalService"]:
    """A service that runs for as long as the test: a twinport.testing.LocalService."""
    async with serving() as service:
        yield service
