"""Each rule of ElastAlert fires once, is silent for its pause, and fires again afterwards."""

import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from tools.backend import wait_until

from .elastalert import ElastAlert, elastalert, rules
from .hook import Hook, hook
from .lines import at, index
from .mail import Mailbox, mailbox
from .node import Node
from .traffic import Line, calls_in

pytestmark = pytest.mark.stack

PAUSE_S, SILENT_S, EVERY_S = 30, 20, 4
PATIENCE_S = 400  # several rounds of all rules, on a machine that does other things, too
CHOSEN = {
    "ALERT_TO": "post2, slack, email",
    "ALERT_EMAIL": "on-call@tea.test",
    "ALERT_SMTP": "127.0.0.1",
    "ALERT_EVERY_S": "2",
    "ALERT_PAUSE": str(PAUSE_S / 60),
    "ALERT_SLOW_MS": "1000",
    "ALERT_SILENT_MINUTES": str(SILENT_S / 60),
    "ZIPKIN_URL": "http://zipkin.test",
    "KEEP_DAYS": "14",
}
WELL, ILL = "well", "ill"
SLOW_NS = 10**9
NEW, SILENT = "a new kind of error", "nothing is heard of it any more"

Told = tuple[str, ...]  # rule, service, operation, and the kind of an error


@pytest.fixture(scope="module")
def told(node: Node) -> Iterator[Hook]:
    with hook() as told:
        yield told


@pytest.fixture(scope="module")
def slack() -> Iterator[Hook]:
    with hook() as slack:
        yield slack


@pytest.fixture(scope="module")
def mails() -> Iterator[Mailbox]:
    with mailbox() as mails:
        yield mails


@pytest.fixture(scope="module")
def running(
    node: Node, told: Hook, slack: Hook, mails: Mailbox, passwords: dict[str, str]
) -> Iterator[ElastAlert]:
    """ElastAlert, on an index that has nothing of other tests."""
    for name in node.send("GET", "/service-logs-*?filter_path=*.aliases") or ():
        node.send("DELETE", f"/{name}")
    host, port = node.url.removeprefix("http://").split(":")
    user = {"ES_USERNAME": "elastalert", "ES_PASSWORD": passwords["ELASTALERT_PASSWORD"]}
    ways = {"ALERT_WEBHOOK": told.url, "ALERT_SLACK": slack.url, "ALERT_SMTP_PORT": str(mails.port)}
    with elastalert(CHOSEN | user | {"ES_HOST": host, "ES_PORT": port} | ways) as running:
        yield running


def of(service: str, lines: list[Line], **more: Any) -> list[Line]:
    """Return lines as if another service had written them just now."""
    return [line | {"service.name": service} | more for line in at(datetime.now(UTC), lines)]


def well(lines: list[Line]) -> list[Line]:
    calls = (line for line in calls_in(lines) if line["event.outcome"] == "success")
    return [line for line in calls if line["event.duration"] < SLOW_NS]


def ill(lines: list[Line]) -> list[Line]:
    slow = [line for line in calls_in(lines) if line["event.duration"] >= SLOW_NS]
    return lines + slow * 5


@contextmanager
def again_and_again(write: Callable[[], None]) -> Iterator[None]:
    """Write lines every few seconds."""
    is_over = threading.Event()

    def keep_writing() -> None:
        while not is_over.is_set():
            write()
            is_over.wait(EVERY_S)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        yield
    finally:
        is_over.set()
        writer.join()


def counted(told: Hook) -> Counter[Told]:
    return Counter(map(what, told.told))


def what(alert: dict[str, Any]) -> Told:
    """Return what an alert is about: of that there is one in a pause."""
    kind = alert["value"] * (alert["rule"] == NEW)
    return alert["rule"], alert["service"], alert["operation"], kind


def pauses(told: Hook) -> list[float]:
    """Return the seconds between any two alerts of the same, one after the other."""
    times: dict[Told, list[float]] = defaultdict(list)
    for at_s, alert in list(told.heard):
        times[what(alert)].append(at_s)
    return [later - earlier for each in times.values() for earlier, later in pairwise(each)]


def ruled(told: Hook) -> set[str]:
    return {each["rule"] for each in told.told}


@pytest.fixture(scope="module")
def history(node: Node, running: ElastAlert, told: Hook, lines: list[Line]) -> dict[str, Any]:
    """What was told while one service was well, another ill, and then silent."""
    counts: dict[str, Any] = {}
    with again_and_again(lambda: index(node, of(WELL, well(lines)))):
        running.wait_for_runs(3, PATIENCE_S)
        counts["well"] = counted(told)
        _fall_ill(node, running, told, lines)
        wait_until(lambda: SILENT in ruled(told), PATIENCE_S)
        silent = counted(told)
        wait_until(lambda: SILENT in again(told, silent), PATIENCE_S)
    return counts


def _fall_ill(node: Node, running: ElastAlert, told: Hook, lines: list[Line]) -> None:
    with again_and_again(lambda: index(node, of(ILL, ill(lines)))):
        wait_until(lambda: ruled(told) == {*rules()} - {SILENT}, PATIENCE_S)
        running.wait_for_runs(2, PATIENCE_S)
        once = counted(told)
        wait_until(lambda: again(told, once) >= {*rules()} - {NEW, SILENT}, PATIENCE_S)
        index(node, of(ILL, [line | {"error.type": "KeyError"} for line in failed(lines)]))
        wait_until(lambda: NEW in again(told, once), PATIENCE_S)


def test_a_service_that_is_well_is_left_alone(history: dict[str, Any], told: Hook):
    assert not history["well"]
    assert {each["service"] for each in told.told} == {ILL}


def test_no_rule_is_switched_off(history: dict[str, Any], running: ElastAlert):
    assert set(re.findall(r"Disabled rules are: (.*)", running.output())) == {"[]"}


def test_a_rule_fires_once_and_not_again_before_its_pause_is_over(
    history: dict[str, Any], told: Hook
):
    assert len(pauses(told)) >= len(rules()) - 1, "all but that of a new error, which is new once"
    assert min(pauses(told)) > PAUSE_S / 2, "it is asked every two seconds"


@pytest.mark.parametrize("rule", rules())
def test_after_its_pause_a_rule_fires_again_with_all_that_leads_to_the_cause(
    history: dict[str, Any], told: Hook, lines: list[Line], rule: str
):
    alerts = [each for each in told.told if each["rule"] == rule]
    assert len(alerts) >= 2
    for each in alerts:
        check(each, lines)


def failed(lines: list[Line]) -> list[Line]:
    return [line for line in lines if "error.type" in line]


def again(told: Hook, once: Counter[Told]) -> set[str]:
    """Return the rules that have told something more often than it was told before."""
    return {key[0] for key in counted(told) - once}


def check(alert: dict[str, Any], lines: list[Line]) -> None:
    """Assert that the message leads to the trace of a line, by what it is about."""
    of_trace = [line for line in lines if line.get("trace.id") == alert["trace_id"]]
    assert alert["operation"] in {line.get("event.action") for line in of_trace}
    assert alert["link"] == f"http://zipkin.test/zipkin/traces/{alert['trace_id']}"


def test_slack_and_a_mailbox_are_told_what_the_web_hook_is(
    history: dict[str, Any], told: Hook, slack: Hook, mails: Mailbox
):
    alerts = {subject_of(alert): text_of(alert) for alert in told.told}
    assert alerts
    wait_until(lambda: alerts.items() <= in_slack(slack).items(), PATIENCE_S)
    wait_until(lambda: alerts.items() <= in_mails(mails).items(), PATIENCE_S)
    assert {mail["to"] for mail in mails.sent} == {"on-call@tea.test"}


def subject_of(alert: dict[str, Any]) -> tuple[str, str]:
    """Return what tells alerts apart: the subject, and the trace."""
    subject = f"{alert['service']}: {alert['rule']} ({alert['operation']})"
    return subject, alert["trace_id"]


def text_of(alert: dict[str, Any]) -> str:
    return f"trace {alert['trace_id']}: {alert['link']}"


def in_slack(slack: Hook) -> dict[tuple[str, str], str]:
    parts = [part for message in list(slack.told) for part in message["attachments"]]
    return dict(_last_line(part["title"], part["text"]) for part in parts)


def in_mails(mails: Mailbox) -> dict[tuple[str, str], str]:
    bodies = [(mail["subject"], mail.get_payload(decode=True)) for mail in list(mails.sent)]
    return dict(_last_line(subject, body.decode()) for subject, body in bodies)


def _last_line(subject: str, body: str) -> tuple[tuple[str, str], str]:
    line = next(line for line in body.splitlines() if line.startswith("trace "))
    return (subject, line.split()[1].rstrip(":")), line
