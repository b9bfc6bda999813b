"""The sample service on free ports; it starts in milliseconds, so nothing is mocked."""

import asyncio
import faulthandler
import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import hypothesis
import pytest
import uvloop

from sample.app import build
from sample.settings import Settings
from twinport import testing
from twinport.calls import Call
from twinport.service.ports import Ports
from twinport.tls.authority import Authority

# Each change is judged by the same examples; `make proof` looks for new ones. What is slow is the
# machine.
hypothesis.settings.register_profile(
    "loaded machine",
    deadline=None,
    derandomize=True,
    max_examples=200,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("loaded machine")
hypothesis.settings.register_profile(  # pytest --hypothesis-profile=long
    "long",
    hypothesis.settings.get_profile("loaded machine"),
    derandomize=False,
    max_examples=5_000,
)
hypothesis.settings.register_profile(  # of those by the newest versions, beside the usual ones
    "brief", hypothesis.settings.get_profile("loaded machine"), max_examples=40
)

Serving = Callable[..., AbstractAsyncContextManager[Ports]]
SERVICE = {"name": "service-under-test", "version": "1.2.3"}


def free(**sections: Any) -> Settings:
    """Return settings with free ports on this machine only; `sections` are merged into them."""
    return testing.free(Settings, {"service": SERVICE} | sections)


def pytest_collection_finish() -> None:
    gc.freeze()  # what was imported stays: to search it again and again takes time


def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """Watch over the end of a test that has failed: pytest watches no longer, for debuggers."""
    if isinstance(node, pytest.Item) and not node.config.getoption("usepdb"):
        limit_s = float(node.config.getini("faulthandler_timeout"))
        faulthandler.dump_traceback_later(limit_s, exit=True)


@pytest.fixture(scope="session", autouse=True)
def always_short_tracebacks(short_tracebacks: None) -> None:
    """Also where no service is started."""


@pytest.fixture(scope="session", autouse=True)
def few_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test calls the web, whose authorities each HTTP client would take 30 ms to load."""
    authorities = tmp_path_factory.mktemp("authorities") / "ca.pem"
    authorities.write_bytes(Authority().certificate)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authorities))
        yield


@pytest.fixture
def settings() -> Settings:
    return free()


@pytest.fixture
def calls() -> list[Call]:
    """Every call that has ended, as the observers hear of them."""
    return []


@pytest.fixture
def serving(calls: list[Call], short_tracebacks: None) -> Serving:
    @asynccontextmanager
    async def serving(settings: Settings, built: Any = build) -> AsyncIterator[Ports]:
        async with testing.serving(settings, built) as service:
            service.calls = calls
            yield service.ports

    return serving


@pytest.fixture
async def ports(serving: Serving, settings: Settings) -> AsyncIterator[Ports]:
    async with serving(settings) as ports:
        yield ports


# Servers have to hold on both event loops, which end connections in different ways.
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
ON_BOTH_LOOPS = {"test_rest_hardening.py", "test_rest_stop.py", "test_rest_servers.py"}


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return LOOPS if item.path.name in ON_BOTH_LOOPS else {"uvloop": LOOPS["uvloop"]}


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No traceback and no complaint of asyncio is logged."""
    yield
    logged = [*caplog.get_records("setup"), *caplog.get_records("call")]
    complaints = [r for r in logged if r.name == "asyncio" and r.levelno > logging.INFO]
    assert not complaints
    assert not [record for record in logged if record.exc_info]
