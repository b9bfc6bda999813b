"""`make demo`, run as a newcomer does, and what it leaves."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from demo.trace import problem_of, service_of

TEMPLATE = Path(__file__).parents[1]
LIBRARY = {"PYTHONPATH": str(TEMPLATE / "twinport/src")}
SERVICES = {"order-book", "checkout"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def seen(folder: Path, run: Callable[..., str]) -> dict[str, Any]:
    """What the demo has seen: `trace_id`, `spans`, and the records of each service's log."""
    saved = folder / "seen.json"
    command = (sys.executable, "-m", "demo", "--folder", folder, "--save", saved)
    run(*command, cwd=TEMPLATE, **LIBRARY)
    return json.loads(saved.read_text(encoding="utf-8"))


def test_each_call_of_the_second_service_is_answered_below_it_by_the_first(seen: dict[str, Any]):
    of = {
        kind: [s for s in seen["spans"] if s.get("kind") == kind] for kind in ("CLIENT", "SERVER")
    }
    asked = {span["id"]: span["name"] for span in of["CLIENT"] if service_of(span) == "checkout"}
    answered = [span for span in of["SERVER"] if service_of(span) == "order-book"]
    assert {span["parentId"]: span["name"] for span in answered} == asked
    assert {name.rpartition("/")[2] for name in asked.values()} == {"CreateOrder", "QuoteOrders"}
    (root,) = [span for span in seen["spans"] if "parentId" not in span]
    assert (service_of(root), root["kind"]) == ("checkout", "SERVER")
    assert {span["traceId"] for span in seen["spans"]} == {seen["trace_id"]}


def test_the_logs_of_both_services_tell_the_id_of_the_trace(seen: dict[str, Any]):
    telling = {
        name
        for name, records in seen["logs"].items()
        if any(seen["trace_id"] in json.dumps(record) for record in records)
    }
    assert telling == SERVICES


def test_a_trace_that_lacks_any_span_is_not_whole(
    seen: dict[str, Any],
):
    spans = seen["spans"]
    assert problem_of(spans, SERVICES) == ""
    assert all(problem_of([*spans[:i], *spans[i + 1 :]], SERVICES) for i in range(len(spans)))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="asks Linux who runs")
def test_ctrl_c_leaves_nothing_running(
    seen: dict[str, Any], folder: Path, environment: dict[str, str]
):
    demo = subprocess.Popen(
        [sys.executable, "-u", "-m", "demo", "--folder", str(folder)],
        cwd=TEMPLATE,
        env=environment | LIBRARY | {"DEMO_MARK": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout
    assert any(line.startswith("starting both") for line in demo.stdout)
    assert len(marked(folder)) > len(SERVICES)
    os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: a command under way gets it, too
    _, said = demo.communicate(timeout=60)
    assert (demo.returncode, said) == (130, "demo: stopped\n")
    deadline = monotonic() + 5  # a command that the same signal has ended may still be ending
    while marked(folder) and monotonic() < deadline:
        pass
    assert marked(folder) == []


def marked(folder: Path) -> list[str]:
    """Return the processes whose environment says that they belong to the demo in `folder`."""
    mark = f"DEMO_MARK={folder}".encode()
    return [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if mark in read(path)]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile, or is not ours
        return b""
