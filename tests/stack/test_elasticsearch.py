"""Templates, roles, two weeks and links, on a real Elasticsearch; the links in a real Zipkin."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stack.jobs.api import Api, ApiError

from .lines import at, index
from .node import Node
from .traffic import Line

pytestmark = pytest.mark.stack

Job = Callable[..., str]

NOW = datetime.now(UTC)
FAILED = {"term": {"event.outcome": "failure"}}


def count(server: Api, query: dict[str, Any], where: str = "service-logs-*") -> int:
    answer = server.send("POST", f"/{where}/_count", {"query": query})
    return int(answer["count"])


def write(server: Api, name: str, document: dict[str, Any]) -> None:
    server.bulk([{"create": {"_index": name}}, document])


def test_the_set_up_can_be_repeated(node: Node, job: Job):
    assert job("jobs.set_up", "elasticsearch") == "elasticsearch is set up\n"


def test_every_line_of_a_service_is_taken_and_found_by_what_alerts_ask_for(
    node: Node, lines: list[Line]
):
    index(node, [line | {"service.environment": "taken"} for line in at(NOW, lines)])
    failed = [line for line in lines if line.get("event.outcome") == "failure"]
    assert failed
    assert taken(node, FAILED) == len(failed)
    assert taken(node, {"range": {"event.duration": {"gte": 10**9}}}) >= 2
    assert taken(node, {"exists": {"field": "error.type"}}) >= 4


def taken(node: Node, query: dict[str, Any]) -> int:
    """Count among the lines of one test: others leave theirs."""
    environment = {"term": {"service.environment": "taken"}}
    return count(node, {"bool": {"filter": [query, environment]}})


def test_without_the_template_an_alert_would_find_nothing(node: Node, lines: list[Line]):
    line = at(NOW, lines[-1:])[0] | {"event.code": "NOT_WELL"}
    index(node, [line])
    write(node, "unprepared", line)
    node.send("POST", "/unprepared/_refresh")
    code = {"term": {"event.code": "NOT_WELL"}}
    assert (count(node, code), count(node, code, "unprepared")) == (1, 0)


def test_a_label_may_be_of_any_kind_in_each_line(node: Node, lines: list[Line]):
    kinds = [18000, "abc", {"deep": {"er": [1, "x", None]}}, True, 1.5, None, ["a", {"b": 1}]]
    index(node, [at(NOW, lines)[0] | {"labels": {"http": kind}} for kind in kinds])
    assert count(node, {"term": {"labels.http": "abc"}}) == 1


def test_a_field_that_nobody_knows_is_kept_and_a_number_that_is_none_loses_no_line(
    node: Node, lines: list[Line]
):
    odd = {"new.field": {"x": 1}, "event.duration": "long", "service.node.name": "odd-one"}
    index(node, [at(NOW, lines)[0] | odd, at(NOW, lines)[0] | {"new.field": "text"}])
    assert count(node, {"term": {"service.node.name": "odd-one"}}) == 1


def test_each_user_can_do_its_work_and_nothing_else(
    node: Node, lines: list[Line], passwords: dict[str, str]
):
    logstash = node.as_user("logstash_internal", passwords["LOGSTASH_PASSWORD"])
    index_it = at(NOW, lines)[:1]
    logstash.send("GET", "/")
    write(logstash, f"service-logs-{NOW:%Y.%m.%d}", index_it[0])
    write(logstash, f"dead-letter-{NOW:%Y.%m.%d}", {"@timestamp": NOW.isoformat(), "line": "{}"})
    reader = node.as_user("reader", passwords["READER_PASSWORD"])
    assert count(reader, {"match_all": {}}) > 0
    for refused in (
        lambda: count(logstash, {"match_all": {}}),
        lambda: write(logstash, "other", {}),
        lambda: logstash.send("DELETE", f"/service-logs-{NOW:%Y.%m.%d}"),
        lambda: write(reader, f"service-logs-{NOW:%Y.%m.%d}", index_it[0]),
    ):
        with pytest.raises(ApiError) as error:
            refused()
        assert error.value.status == 403


PATTERNS = ("service-logs-%Y.%m.%d", "dead-letter-%Y.%m.%d", "zipkin-span-%Y-%m-%d")


def test_what_is_older_than_two_weeks_is_deleted_and_nothing_else(node: Node, job: Job):
    days = [NOW - timedelta(days=back) for back in range(20)]
    names = {day.strftime(PATTERNS[0]) for day in days}
    names |= {days[back].strftime(pattern) for back in (14, 15) for pattern in PATTERNS}
    others = {"zipkin-dependency-2020-01-01", "kept-2020.01.01", "service-logs-of-nobody"}
    for name in (names | others) - indices(node):
        node.send("PUT", f"/{name}")
    for day in (days[0], days[19]):
        write(node, "elastalert_status", {"@timestamp": day.isoformat()})
    node.send("POST", "/elastalert_status/_refresh")
    said = job("jobs")
    young = {day.strftime(pattern) for day in days[:15] for pattern in PATTERNS}
    assert indices(node) & (names | others) == (names & young) | {
        "kept-2020.01.01",
        "service-logs-of-nobody",
    }
    assert said.startswith("deleted 8 indices")
    node.send("POST", "/elastalert_status/_refresh")
    old = {"range": {"@timestamp": {"lt": days[15].isoformat()}}}
    assert count(node, old, "elastalert_status") == 0
    assert count(node, {"match_all": {}}, "elastalert_status") > 0
    for name in indices(node):
        if name.startswith("elastalert_status"):
            node.send("DELETE", f"/{name}")  # ElastAlert makes them as it needs them


def indices(node: Node) -> set[str]:
    return set(node.send("GET", "/*?expand_wildcards=open&filter_path=*.aliases"))
