"""A started service and a Logstash input that is stopped, slow, and started again: who counts?"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from demo.services import started
from support.log_collectors import Collector
from tools.backend import wait_until
from twinport.testing import Running

from .callers import Stopwatch, get_each

pytestmark = pytest.mark.backends

COUNT = 400
QUICKLY_S = 15  # for COUNT calls; a collector that sleeps must not be felt


@pytest.fixture(params=["beats", "http", "tcp"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def collector(protocol: str) -> Iterator[Any]:
    collector = Collector(protocol)
    collector.start()
    yield collector
    collector.is_awake.set()
    collector.stop()


@contextmanager
def shipping(project: Path, protocol: str, port: int, queue: Path) -> Iterator[Running]:
    """Keep a service running whose lines go to the console and to `port`."""
    kind = {"kind": "logstash", "host": "127.0.0.1", "port": port, "protocol": protocol}
    if protocol == "http":
        kind = {"kind": "http", "url": f"http://127.0.0.1:{port}/"}
    away = {f"logs.sinks.away.{key}": value for key, value in (kind | {"queue_dir": queue}).items()}
    with started(project, away) as service:
        yield service


def call(service: Running, phase: str) -> set[str]:
    """Make COUNT calls, and return the paths that their access lines tell."""
    paths = {f"/v1/orders/{phase}-{number}" for number in range(COUNT)}
    watch = Stopwatch()
    assert set(get_each(service.ports().http, paths)) == {404}
    assert watch.seconds() < QUICKLY_S
    wait_until(lambda: paths <= paths_in(service.lines), 10)
    return paths


def paths_in(lines: list[dict[str, Any]]) -> set[str]:
    return {path for line in list(lines) if (path := path_of(line))}


def path_of(line: dict[str, Any]) -> str:
    """Return `url.path` of a record, however deep it is written."""
    return str(line.get("url.path") or line.get("url", {}).get("path", ""))


def stop_and_start(collector: Any) -> None:
    """Stop it without a word for what it holds, and start it on the same port."""
    collector.stop()
    collector.is_awake.set()
    collector.start()


def test_every_line_that_was_logged_arrives_after_a_stop_a_sleep_and_a_restart(
    order_book: Path, collector: Any, protocol: str, tmp_path: Path
):
    with shipping(order_book, protocol, collector.port, tmp_path) as service:
        logged = call(service, "there")
        wait_until(lambda: logged <= paths_in(collector.lines), 20)
        collector.stop()
        logged |= call(service, "stopped")
        collector.start()
        wait_until(lambda: logged <= paths_in(collector.lines), 30)
        collector.is_awake.clear()
        slow = call(service, "slow")
        stop_and_start(collector)
        logged |= call(service, "again")
        wait_until(lambda: logged <= paths_in(collector.lines), 30)
        assert service.stop() == 0
    arrived = [path for line in collector.lines if (path := path_of(line))]
    lost, twice = len(slow - {*arrived}), len(arrived) - len({*arrived})
    print(f"\n{protocol}: {4 * COUNT} logged, {lost} lost, {twice} arrived twice")
    assert paths_in(service.lines) == logged | slow
    assert not lost or protocol == "tcp"  # which has no acknowledgement: the docs say so


def test_what_waits_when_the_service_stops_is_sent_by_the_next_one(
    order_book: Path, collector: Any, protocol: str, tmp_path: Path
):
    collector.stop()
    with shipping(order_book, protocol, collector.port, tmp_path) as service:
        logged = call(service, "alone")
        assert service.stop() == 0
    collector.start()
    with shipping(order_book, protocol, collector.port, tmp_path):
        wait_until(lambda: logged <= paths_in(collector.lines), 30)
    assert logged <= paths_in(collector.lines)
