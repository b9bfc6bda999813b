"""From an alert to its cause: two services in production, their lines sent by Beats.

Beats is answered by Elastic's own library, in the place of Logstash.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from demo.services import environment, spans_to
from tools.backend import listens, wait_until
from tools.screenshot import picture
from tools.zipkin import Zipkin, zipkin
from twinport.service.ports import Ports
from twinport.testing import Running, free_port, own_environment, running

from .conftest import STACK, Certificate
from .elastalert import elastalert
from .hook import Hook, hook
from .node import BUILD, Node
from .test_zipkin import storage
from .traffic import Line, order

pytestmark = pytest.mark.stack

PATIENCE_S = 400
WELL = 300
SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"  # W3C Trace Context
BOTH = {"checkout", "order-book"}
CHOSEN = {
    "ALERT_TO": "post2",
    "ALERT_EVERY_S": "2",
    "ALERT_SLOW_MS": "1000",
    "ALERT_ERROR_PERCENT": "1",
    "KEEP_DAYS": "14",
}


class Fleet:
    """What is running, and what it said."""

    def __init__(self, node: Node, server: Zipkin, told: Hook, port: int) -> None:
        self.node, self.zipkin, self.told, self.port = node, server, told, port
        self.statuses: Counter[int] = Counter()

    def purchase(self, *skus: str, **headers: str) -> None:
        done = order(self.port, skus, "/v1/purchases", **headers)
        self.statuses.update(status for status, _ in done)

    def alert(self, rule: str, operation: str) -> dict[str, Any]:
        """Return the first such alert."""

        def matching() -> list[dict[str, Any]]:
            told = list(self.told.told)
            return [a for a in told if (a["rule"], a["operation"]) == (rule, operation)]

        wait_until(lambda: bool(matching()), PATIENCE_S)
        return matching()[0]

    def lines(self, query: dict[str, Any]) -> list[Line]:
        body = {"query": query, "size": 1000, "sort": ["@timestamp"]}
        self.node.send("POST", "/service-logs-*/_refresh")
        hits = self.node.send("POST", "/service-logs-*/_search", body)["hits"]["hits"]
        return [hit["_source"] for hit in hits]


@contextmanager
def beats(node: Node, password: str) -> Iterator[int]:
    """Keep a server of the Beats protocol running on a port, before the node."""
    port = free_port()
    url = node.url.replace("//", f"//logstash_internal:{password}@")
    command = [str(BUILD / "beats"), f"127.0.0.1:{port}", url]
    with Running(command, Path.cwd(), own_environment()) as server:
        server.wait_until(lambda: "listening" in "".join(server.output))
        yield port


class Front(NamedTuple):
    """Ports of the stack for services on other machines."""

    spans: int
    lines: int


@contextmanager
def proxy(beats: int, server: Zipkin, certificate: Path) -> Iterator[Front]:
    """Keep HAProxy before the stack, as its configuration says."""
    front = Front(free_port(), free_port())
    told = {"SPANS_PORT": front.spans, "LINES_PORT": front.lines, "LOGSTASH": f"127.0.0.1:{beats}"}
    told |= {"CERTIFICATE": certificate, "HERE": "127.0.0.1", "ZIPKIN": urlsplit(server.url).netloc}
    variables = own_environment() | {name: str(value) for name, value in told.items()}
    command = ["haproxy", "-db", "-f", str(STACK / "haproxy/haproxy.cfg")]
    with Running(command, Path.cwd(), variables) as process:
        process.wait_until(lambda: listens(front.lines))
        yield front


def in_production(project: Path, settings: dict[str, object], **variables: str) -> Running:
    command = [f".venv/bin/{project.name}", "run", "--env", "production"]
    return running(command, project, settings, environment() | variables)


@pytest.fixture(scope="module")
def fleet(
    node: Node,
    passwords: dict[str, str],
    pair: tuple[Path, Path],
    certificate: Certificate,
    tmp_path_factory: Any,
) -> Iterator[Fleet]:
    with ExitStack() as stack:
        told = stack.enter_context(hook())
        server = stack.enter_context(zipkin(**storage(node, passwords)))
        port = stack.enter_context(beats(node, passwords["LOGSTASH_PASSWORD"]))
        queues = tmp_path_factory.mktemp("queues")
        away = shipping(port, queues / "called") | spans_to(server.endpoint)
        called = ports_of(stack.enter_context(in_production(pair[0], away)))
        front = stack.enter_context(proxy(port, server, certificate.with_key))
        away = shipping(front.lines, queues / "calling", **{"tls.ca": certificate.alone})
        away |= spans_to(f"https://localhost:{front.spans}/api/v2/spans")
        away["clients.order-book.target"] = f"localhost:{called.grpc}"
        trusting = {"SSL_CERT_FILE": str(certificate.alone)}
        trusting |= dict.fromkeys(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), "")  # of this machine
        calling = ports_of(stack.enter_context(in_production(pair[1], away, **trusting)))
        stack.enter_context(elastalert(alerts(node, passwords, told, server)))
        yield Fleet(node, server, told, calling.http)


def shipping(port: int, queue: Path, **more: object) -> dict[str, object]:
    sink = {"kind": "logstash", "host": "localhost", "port": port, "queue_dir": queue, **more}
    return {f"logs.sinks.central.{key}": value for key, value in sink.items()}


def ports_of(service: Running) -> Ports:
    """Wait for a service on a machine on which much else is being started."""
    service.logged("ready", seconds=PATIENCE_S)
    return service.ports()


def alerts(node: Node, passwords: dict[str, str], told: Hook, server: Zipkin) -> dict[str, str]:
    host, port = node.url.removeprefix("http://").split(":")
    return CHOSEN | {
        "ES_HOST": host,
        "ES_PORT": port,
        "ES_USERNAME": "elastalert",
        "ES_PASSWORD": passwords["ELASTALERT_PASSWORD"],
        "ALERT_WEBHOOK": told.url,
        "ZIPKIN_URL": server.url.removesuffix("/zipkin"),
    }


@pytest.fixture(scope="module")
def called(fleet: Fleet) -> Fleet:
    """The fleet after much that went well, and little that did not."""
    fleet.purchase(*["green-tea"] * WELL)
    fleet.purchase("green-tea", traceparent=SAMPLED)
    fleet.purchase(*["broken-pot", "slow-tea"] * 6)
    return fleet


def test_every_line_of_both_services_arrives(called: Fleet):
    done = called.statuses[201]
    calls = {"term": {"http.route": "/v1/purchases"}}
    assert called.statuses == {201: WELL + 7, 500: 6}
    wait_until(lambda: len(called.lines(calls)) == WELL + 13, PATIENCE_S)
    wait_until(lambda: count_of_orders(called) == done + 6, PATIENCE_S)


def count_of_orders(fleet: Fleet) -> int:
    method = "order_book.orders.v1.OrderService/CreateOrder"
    return len(fleet.lines({"term": {"rpc.method": method}}))


@pytest.mark.parametrize(("rule", "kind"), [("slow calls", "slow"), ("many calls fail", "failed")])
def test_an_alert_leads_to_the_lines_of_both_services_and_to_the_span(
    called: Fleet, rule: str, kind: str
):
    alert = called.alert(rule, "POST /v1/purchases")
    lines = called.lines({"term": {"trace.id": alert["trace_id"]}})
    assert {line["service.name"] for line in lines} == BOTH
    spans = called.zipkin.trace(alert["trace_id"], lambda spans: names_in(spans) == BOTH)
    assert names_in(spans) == BOTH
    take_picture(alert["link"], f"stack-{kind}.png")
    if kind == "slow":
        assert max(span["duration"] for span in spans) > 10**6
    else:
        assert any("error" in span["tags"] for span in spans)
        assert "RuntimeError" in {line.get("error.type") for line in lines}


def take_picture(url: str, name: str) -> None:
    """Take one for the docs, where `make stack-pictures` has asked for it."""
    folder = os.environ.get("STACK_PICTURES")
    if folder:
        picture(url, Path(folder) / name)


def names_in(spans: list[dict[str, Any]]) -> set[str]:
    return {span["localEndpoint"]["serviceName"] for span in spans}


def test_few_of_the_calls_that_went_well_are_traced(called: Fleet):
    asked = "/api/v2/traces?serviceName=checkout&limit=1000&lookback=3600000"
    traces = called.zipkin.get(asked)
    assert len(traces) < WELL / 2


def test_zipkin_shows_who_calls_whom(called: Fleet, job: Callable[..., str], node: Node):
    job("jobs")
    node.send("POST", "/zipkin-dependency-*/_refresh")
    pairs = {(link["parent"], link["child"]) for link in called.zipkin.links()}
    assert ("checkout", "order-book") in pairs
    now_ms, day_ms = time.time_ns() // 10**6, 24 * 3600 * 1000
    view = f"{called.zipkin.url}/dependency?startTime={now_ms - day_ms}&endTime={now_ms + day_ms}"
    take_picture(view, "stack-dependencies.png")
