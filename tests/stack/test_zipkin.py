"""Zipkin on Elasticsearch: its own user, and who called whom as Zipkin in memory knows it."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tools.backend import wait_until
from tools.zipkin import Zipkin, zipkin

from .node import Node

pytestmark = pytest.mark.stack

NOW_US = int(datetime.now(UTC).timestamp() * 1e6)
TRACE = "463ac35c9f6413ad48485a3953bb6124"
OTHER = "463ac35c9f6413ad48485a3953bb6125"
OWN = "linked-"  # what services of this test are called: others have left their spans on the node


def span(number: int, kind: str, service: str, parent: int = 0, **more: Any) -> dict[str, Any]:
    ids = {"traceId": TRACE, "id": f"{number:016x}"} | (
        {"parentId": f"{parent:016x}"} if parent else {}
    )
    when = {"timestamp": NOW_US + number, "duration": 1000}
    return (
        ids
        | when
        | {"kind": kind, "name": "op", "localEndpoint": {"serviceName": OWN + service}}
        | more
    )


ERROR = {"tags": {"error": "INTERNAL"}}
SPANS = [
    span(1, "SERVER", "checkout"),
    span(2, "CLIENT", "checkout", 1),
    span(3, "SERVER", "order-book", 2),
    span(4, "CLIENT", "checkout", 1, **ERROR),
    span(5, "SERVER", "order-book", 4, **ERROR),
    span(6, "CLIENT", "order-book", 5, remoteEndpoint={"serviceName": "postgres"}),
    span(7, "CLIENT", "order-book", 5, remoteEndpoint={"serviceName": "postgres"}, **ERROR),
    span(8, "PRODUCER", "order-book", 5, remoteEndpoint={"serviceName": "kafka"}),
    span(11, "SERVER", "stock", 5, **ERROR),  # of a call that was not sampled, and failed
    span(9, "SERVER", "stock", 8, remoteEndpoint={"serviceName": "old-shop"}, traceId=OTHER),
    span(10, "CLIENT", "stock", 9, traceId=OTHER),
    span(10, "SERVER", "prices", 9, shared=True, traceId=OTHER),
]


@pytest.fixture(scope="module")
def on_elasticsearch(node: Node, passwords: dict[str, str]) -> Iterator[Zipkin]:
    with zipkin(**storage(node, passwords)) as server:
        yield server


def storage(node: Node, passwords: dict[str, str]) -> dict[str, str]:
    """Return what the Compose file tells Zipkin."""
    return {
        "STORAGE_TYPE": "elasticsearch",
        "ES_HOSTS": node.url,
        "ES_USERNAME": "zipkin",
        "ES_PASSWORD": passwords["ZIPKIN_PASSWORD"],
        "ES_INDEX_SHARDS": "1",
        "ES_INDEX_REPLICAS": "0",
        "ES_TIMEOUT": "60000",  # the first request of all takes long on a busy machine
    }


def send(server: Zipkin) -> None:
    headers = {"content-type": "application/json"}
    with urlopen(Request(server.endpoint, json.dumps(SPANS).encode(), headers), timeout=30):
        pass
    wait_until(lambda: len(server.get(f"/api/v2/trace/{TRACE}") or []) == 9, 60)
    wait_until(lambda: len(server.get(f"/api/v2/trace/{OTHER}") or []) == 3, 60)


def links(server: Zipkin) -> list[tuple[str, str, int, int]]:
    return sorted(
        (link["parent"], link["child"], link["callCount"], link.get("errorCount", 0))
        for link in server.links()
        if OWN in link["parent"] + link["child"]
    )


def test_the_links_are_those_that_zipkin_finds_in_memory(
    on_elasticsearch: Zipkin, node: Node, job: Callable[..., str]
):
    with zipkin() as in_memory:
        send(in_memory)
        expected = links(in_memory)
    send(on_elasticsearch)
    assert len(expected) >= 4
    job("jobs")
    node.send("POST", "/zipkin-dependency-*/_refresh")
    assert links(on_elasticsearch) == expected
    job("jobs")  # again is not twice
    node.send("POST", "/zipkin-dependency-*/_refresh")
    assert links(on_elasticsearch) == expected
