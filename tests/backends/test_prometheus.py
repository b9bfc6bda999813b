"""What Prometheus and its promtool make of the metrics of a started service."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from backend import wait_until
from callers import get_each
from fleet import running
from prometheus import prometheus
from run import settings

pytestmark = pytest.mark.backends

CALLS = 20
COUNTED = 'sum(http_server_request_duration_seconds_count{http_route="/v1/orders"})'


@pytest.fixture
def management_port(order_book: Path) -> Iterator[int]:
    """The management port of a service that has been called."""
    with running(order_book, settings("http://127.0.0.1:1/")) as service:
        ports = service.ports()
        get_each(ports["http"], ["/v1/orders"] * CALLS + ["/v1/orders/no-such-order"])
        yield ports["management"]


def test_promtool_has_nothing_to_say_about_the_metrics(management_port: int):
    with urlopen(f"http://127.0.0.1:{management_port}/metrics", timeout=10) as answer:
        metrics = answer.read()
    assert b"/v1/orders" in metrics
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=metrics,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert (done.returncode, done.stdout.decode()) == (0, "")


def test_prometheus_scrapes_the_service_and_counts_its_calls(management_port: int, tmp_path: Path):
    with prometheus(f"127.0.0.1:{management_port}", tmp_path) as server:
        wait_until(lambda: server.query("up") == [1.0], 20)
        wait_until(lambda: server.query(COUNTED) == [CALLS], 20)
