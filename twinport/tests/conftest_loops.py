"""Servers have to hold on both event loops, which end connections in different ways."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    on_both = item.path.name in {"test_rest_fences.py", "test_rest_stop.py", "test_rest_servers.py"}
    return LOOPS if on_both else {"uvloop": LOOPS["uvloop"]}


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No traceback and no complaint of asyncio is logged."""
    yield
    logged = [*caplog.get_records("setup"), *caplog.get_records("call")]
    complaints = [r for r in logged if r.name == "asyncio" and r.levelno > logging.INFO]
    assert not complaints
    assert not [record for record in logged if record.exc_info]
