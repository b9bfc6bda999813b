"""What Prometheus and its promtool make of the metrics of a started service."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from demo.purchase import buy_over_rest
from demo.services import serving, started
from tools.backend import wait_until
from tools.zipkin import Zipkin
from twinport.testing import Running

from .callers import get_each
from .prometheus import prometheus

pytestmark = pytest.mark.backends

CALLS = 20
CALLED = (
    "rpc_server_call_duration_seconds",
    "rpc_server_call_received_message_size_bytes",
    "rpc_server_call_sent_message_size_bytes",
)
CALLING = (
    "http_server_request_duration_seconds",
    "http_server_request_body_size_bytes",
    "http_server_response_body_size_bytes",
    *(name.replace("server", "client") for name in CALLED),
)
BUCKETS = "http_server_request_duration_seconds_bucket"
PATIENCE_S = 60
COUNTED = 'sum(http_server_request_duration_seconds_count{http_route="/v1/orders"})'


@pytest.fixture
def management_port(order_book: Path) -> Iterator[int]:
    """The management port of a service that has been called."""
    with started(order_book, {}) as service:
        ports = service.ports()
        get_each(ports.http, ["/v1/orders"] * CALLS + ["/v1/orders/no-such-order"])
        yield ports.management


def test_promtool_has_nothing_to_say_about_the_metrics(pair: tuple[Path, Path]):
    with serving(*pair, "http://127.0.0.1:1/") as (checkout, order_book):
        buy_over_rest(checkout.ports().http)
        for service, sides in ((checkout, CALLING), (order_book, CALLED)):
            metrics = metrics_of(service)
            assert all(f"{name}_sum" in metrics for name in sides)
            check(metrics)


def metrics_of(service: Running) -> str:
    url = f"http://127.0.0.1:{service.ports().management}/metrics"
    with urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def check(metrics: str) -> None:
    """Assert that promtool is content."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=metrics,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_prometheus_scrapes_the_service_and_counts_its_calls(management_port: int, tmp_path: Path):
    with prometheus(f"127.0.0.1:{management_port}", tmp_path) as server:
        wait_until(lambda: server.query("up") == [1.0], 20)
        wait_until(lambda: server.query(COUNTED) == [CALLS], 20)


def test_a_bucket_of_prometheus_leads_to_the_trace_of_a_call_that_fell_into_it(
    pair: tuple[Path, Path], server: Zipkin, tmp_path: Path
):
    with serving(*pair, server.endpoint) as (checkout, _):
        ports = checkout.ports()
        trace_id = buy_over_rest(ports.http)
        with prometheus(f"127.0.0.1:{ports.management}", tmp_path) as scraping:
            wait_until(lambda: trace_id in scraping.exemplars(BUCKETS), PATIENCE_S)
        assert server.trace(trace_id, bool)
