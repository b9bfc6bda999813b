"""Each panel's ES|QL by Elasticsearch's own grammar, and the same question answered by a node."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from .conftest import STACK
from .lines import at, index
from .node import BUILD, JAVA, Node, compiled, installed, java_home
from .traffic import Line, calls_in

pytestmark = pytest.mark.stack

ENVIRONMENT = "panels"  # of the lines that are counted here
DASHBOARD = json.loads((STACK / "kibana/dashboard.json").read_text(encoding="utf-8"))
PANELS = {panel["id"]: panel["config"] for panel in DASHBOARD["panels"]}
ACCESS = {"term": {"log.logger": "access"}}
FAILED = {"filter": {"term": {"event.outcome": "failure"}}}
DURATION = {"percentiles": {"field": "event.duration", "percents": [50, 95, 99]}}
OVER_TIME = {"field": "@timestamp", "fixed_interval": "1d"}
ERRORS = {"terms": {"log.level": ["error", "critical"]}}

Aggregations = dict[str, Any]


def queries() -> list[str]:
    return [*_strings(DASHBOARD, "query"), *_strings(DASHBOARD, "esql_query")]


def _strings(value: Any, key: str) -> Iterable[str]:
    if isinstance(value, dict):
        yield from (each for name, each in value.items() if name == key and isinstance(each, str))
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from _strings(each, key)


@cache
def checker() -> tuple[str, ...]:
    """Return the command that checks queries, compiled."""
    jars = [*map(str, (BUILD / "esql").glob("*.jar"))]
    home = installed()
    jars += [f"{home}/lib/*", f"{home}/modules/x-pack-core/*"]
    sources = [JAVA / "EsqlCheck.java", JAVA / "QlClientException.java"]
    classes = compiled(sources, BUILD / "classes/esql", *jars)
    classpath = os.pathsep.join([str(classes), *jars])
    return str(java_home() / "bin/java"), "-cp", classpath, "EsqlCheck"


def verdicts(asked: list[str]) -> list[str]:
    done = subprocess.run([*checker(), *asked], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_grammar_of_elasticsearch_takes_each_query():
    asked = queries()
    assert len(asked) >= 14
    assert verdicts(asked) == ["ok"] * len(asked)


def test_the_grammar_refuses_what_is_wrong():
    without_comma = queries()[2].replace("(event.duration, ", "(event.duration ")
    assert "ok" not in verdicts([queries()[0].replace("STATS", "STAT"), without_comma])


def terms(*fields: str, **inner: Aggregations) -> Aggregations:
    """Return the aggregation by these fields, one within the other."""
    built = inner
    for field in reversed(fields):
        built = {"by": {"terms": {"field": field, "size": 100}, "aggs": built}}
    return built


# The panels' questions as the node can answer them: it has the grammar of ES|QL, and cannot run it.
TWINS: Mapping[str, tuple[dict[str, Any], Aggregations]] = {
    "calls": (ACCESS, {}),
    "error-share": (ACCESS, {"failed": FAILED}),
    "p50": (ACCESS, {"duration": DURATION}),
    "p95": (ACCESS, {"duration": DURATION}),
    "p99": (ACCESS, {"duration": DURATION}),
    "error-lines": (ERRORS, {}),
    "rate": (ACCESS, {"by": {"date_histogram": OVER_TIME, "aggs": terms("service.name")}}),
    "error-share-over-time": (
        ACCESS,
        {"by": {"date_histogram": OVER_TIME, "aggs": terms("service.name", failed=FAILED)}},
    ),
    "durations": (ACCESS, {"by": {"date_histogram": OVER_TIME, "aggs": {"duration": DURATION}}}),
    "levels": (
        {"match_all": {}},
        {"by": {"date_histogram": OVER_TIME, "aggs": terms("log.level")}},
    ),
    "operations": (
        ACCESS,
        terms("service.name", "event.action", failed=FAILED, duration=DURATION),
    ),
    "errors": (
        {"exists": {"field": "error.type"}},
        terms("service.name", "error.type", latest={"max": {"field": "@timestamp"}}),
    ),
}


@pytest.fixture(scope="module")
def counted(node: Node, lines: list[Line]) -> list[Line]:
    """The lines that the node has, for whoever asks for this environment."""
    moved = [line | {"service.environment": ENVIRONMENT} for line in at(datetime.now(UTC), lines)]
    index(node, moved)
    return moved


def ask(node: Node, panel: str) -> dict[str, Any]:
    query, aggregations = TWINS[panel]
    filters = [query, {"term": {"service.environment": ENVIRONMENT}}]
    body = {"query": {"bool": {"filter": filters}}, "size": 0, "track_total_hits": True}
    answer: dict[str, Any] = node.send(
        "POST", "/service-logs-*/_search", body | {"aggs": aggregations}
    )
    return answer


def total(answer: dict[str, Any]) -> int:
    return int(answer["hits"]["total"]["value"])


def rows(level: dict[str, Any], *keys: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """Return the innermost buckets by the keys of all levels."""
    if "by" not in level:
        return {keys: level}
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for bucket in level["by"]["buckets"]:
        found |= rows(bucket, *keys, bucket["key"])
    return found


def test_each_panel_that_asks_has_a_twin():
    assert set(TWINS) == {id_ for id_, config in PANELS.items() if "ref_id" not in config}


def test_calls_errors_and_durations_are_those_of_the_lines(node: Node, counted: list[Line]):
    calls = calls_in(counted)
    assert total(ask(node, "calls")) == len(calls)
    share = ask(node, "error-share")["aggregations"]["failed"]["doc_count"]
    assert share == sum(line["event.outcome"] == "failure" for line in calls)
    assert total(ask(node, "error-lines")) == sum(line["log.level"] == "error" for line in counted)
    p99 = ask(node, "p99")["aggregations"]["duration"]["values"]["99.0"]
    assert p99 > 1e9 > ask(node, "p50")["aggregations"]["duration"]["values"]["50.0"] > 0


def test_operations_and_errors_are_those_of_the_lines(node: Node, counted: list[Line]):
    calls = Counter((line["service.name"], line["event.action"]) for line in calls_in(counted))
    answered = rows(ask(node, "operations")["aggregations"])
    assert {key: row["doc_count"] for key, row in answered.items()} == calls
    assert all(row["duration"]["values"]["95.0"] for row in answered.values())
    kinds = Counter(
        (line["service.name"], line["error.type"]) for line in counted if "error.type" in line
    )
    answered = rows(ask(node, "errors")["aggregations"])
    assert {key: row["doc_count"] for key, row in answered.items()} == kinds


def test_what_is_shown_over_time_adds_up(node: Node, counted: list[Line]):
    levels: Counter[str] = Counter()
    for (_, level), row in rows(ask(node, "levels")["aggregations"]).items():
        levels[level] += row["doc_count"]
    assert levels == Counter(line["log.level"] for line in counted)
    by_service = rows(ask(node, "rate")["aggregations"])
    assert sum(row["doc_count"] for row in by_service.values()) == len(calls_in(counted))
    failed = rows(ask(node, "error-share-over-time")["aggregations"])
    assert sum(row["failed"]["doc_count"] for row in failed.values()) > 0
    durations = rows(ask(node, "durations")["aggregations"])
    assert all(row["duration"]["values"]["99.0"] for row in durations.values())


def test_a_search_for_one_trace_finds_the_lines_of_a_request_and_the_slowest_comes_first(
    node: Node, counted: list[Line]
):
    failed = next(line for line in calls_in(counted) if line["event.outcome"] == "failure")
    same = {"query": {"term": {"trace.id": failed["trace.id"]}}, "sort": ["@timestamp"]}
    hits = node.send("POST", "/service-logs-*/_search", same)["hits"]["hits"]
    assert {hit["_source"]["log.logger"] for hit in hits} > {"access"}
    slow: dict[str, Any] = {"query": {"range": {"event.duration": {"gte": 10**9}}}}
    slow["sort"] = [{"event.duration": "desc"}]
    hits = node.send("POST", "/service-logs-*/_search", slow)["hits"]["hits"]
    assert hits[0]["_source"]["event.action"] == "POST /v1/orders"
