"""The files in stack/ fit each other, and what services log; nothing is started for it."""

import json
import os
import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.baking import TEMPLATE, Bake, Run

STACK = TEMPLATE / "stack"
LOGS = TEMPLATE / "twinport/src/twinport/logs"
FIELD = re.compile(
    r'"(@timestamp|message|labels|[a-z]+(?:[._][a-z]+)*\.[a-z_]+(?:\.[a-z_]+)*)"\]?\s*[:=]'
)
ASKED = re.compile(r"(?<![\w.\"])((?:[a-z]+\.)+[a-z_]+|@timestamp)(?![\w.(*-])")
OF_FILEBEAT = {"tags"}
COLUMNS, WIDTH = re.compile(r"(\w+) = "), 48


def read(name: str) -> Any:
    text = (STACK / name).read_text(encoding="utf-8")
    return json.loads(text) if name.endswith(".json") else yaml.safe_load(text)


def mapped() -> dict[str, dict[str, Any]]:
    """Return the fields of the index template, each with its mapping."""
    fields: dict[str, dict[str, Any]]
    fields = read("elasticsearch/templates/service-logs.json")["template"]["mappings"]["properties"]
    return fields


def logged() -> set[str]:
    """Return the names of the fields that the library's log writes, by its source."""
    sources = [LOGS / f"{name}.py" for name in ("formats", "access_log", "capture", "logs")]
    return {name for path in sources for name in FIELD.findall(path.read_text(encoding="utf-8"))}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read("kibana/dashboard.json")["panels"]
    return found


def sources_of(panel: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what has a query: a panel's configuration, or its layers."""
    layers: list[dict[str, Any]] = panel["config"].get("layers", [panel["config"]])
    return [layer for layer in layers if "data_source" in layer]


def test_the_index_template_has_each_field_that_the_library_logs_and_no_other():
    assert logged() == set(mapped()) - OF_FILEBEAT


def test_what_alerts_and_panels_group_by_is_a_keyword_and_what_they_count_a_number():
    fields = mapped()
    assert fields["labels"]["type"] == "flattened"
    assert fields["event.duration"]["type"] == "long"
    for name in ("service.name", "event.action", "event.outcome", "error.type", "trace.id"):
        assert fields[name]["type"] == "keyword"


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["id"])
def test_a_panel_asks_for_fields_that_are_logged_and_shows_columns_that_it_asked_for(
    panel: dict[str, Any],
):
    for source in sources_of(panel):
        query = source["data_source"]["query"]
        asked = set(ASKED.findall(query))
        assert asked <= set(mapped())
        shown = re.findall(r'"column": "([^"]+)"', json.dumps(source))
        assert shown
        assert set(shown) <= set(COLUMNS.findall(query)) | asked


def test_no_panel_hides_another():
    boxes = [panel["grid"] for panel in panels()]
    assert all(box["x"] + box["w"] <= WIDTH for box in boxes)
    for one, other in combinations(boxes, 2):
        assert is_beside(one, other, "x", "w") or is_beside(one, other, "y", "h")


def is_beside(one: dict[str, int], other: dict[str, int], at: str, size: str) -> bool:
    return one[at] + one[size] <= other[at] or other[at] + other[size] <= one[at]


def test_each_search_stands_on_the_data_view_whose_trace_ids_lead_to_zipkin():
    view = read("kibana/data-view.json")
    formats = view["fieldFormats"]
    assert formats["trace.id"]["params"]["urlTemplate"] == "${ZIPKIN_URL}/zipkin/traces/{{value}}"
    searches = {search["id"]: search for search in read("kibana/searches.json")}
    shown = {panel["config"]["ref_id"] for panel in panels() if panel["type"] == "discover_session"}
    assert shown < set(searches)
    for search in searches.values():
        assert [each["id"] for each in search["references"]] == [view["id"]]
        assert set(search["attributes"]["columns"]) <= set(mapped())


@pytest.mark.parametrize(
    "path", sorted((STACK / "elastalert/rules").iterdir()), ids=lambda path: path.stem
)
def test_a_rule_of_elastalert_asks_for_fields_that_are_logged(path: Path):
    fields = set(re.findall(r"\b((?:[a-z]+\.)+[a-z]+)\b", path.read_text(encoding="utf-8")))
    assert fields - {"alert.yaml"} <= set(mapped())


def test_each_variable_of_the_alerts_has_a_value_in_the_compose_file():
    files = list((STACK / "elastalert").rglob("*.yaml"))
    used = {name for path in files for name in re.findall(r"\$\{(\w+)\}", path.read_text())}
    assert used <= set(read("compose.yaml")["services"]["elastalert"]["environment"])


def test_every_image_has_a_version_and_every_port_is_open_to_this_machine_alone():
    services = read("compose.yaml")["services"] | read("lite.yaml")["services"]
    assert all(":" in service["image"] for service in services.values() if "image" in service)
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert all("mem_limit" in service for service in services.values() if "image" in service)


def test_each_user_has_a_password_that_the_start_makes_and_a_role_that_is_there():
    made = (STACK / "start.sh").read_text(encoding="utf-8")
    for user in read("elasticsearch/users.json").values():
        assert user["password"].removesuffix("_PASSWORD") in made
        assert (STACK / f"elasticsearch/roles/{user['role']}.json").exists()


def test_a_docker_without_compose_is_one_line_and_no_passwords_are_made(copied: dict[str, str]):
    docker = Path(copied["PATH"].partition(":")[0]) / "docker"
    docker.write_text("#!/bin/sh\necho unknown flag: --file >&2\nexit 125\n", encoding="utf-8")
    start = [Path(copied["STACK"]) / "start.sh", "lite"]
    done = subprocess.run(
        start, env={**os.environ, **copied}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "needs Docker with its Compose plugin\n"
    assert not (Path(copied["STACK"]) / ".env").exists()


def test_a_service_starts_the_stack_where_it_is(bake: Bake, run: Run, copied: dict[str, str]):
    service = bake()
    said = run("make", "stack-lite", cwd=service, **copied)
    assert said.endswith("compose --file lite.yaml up --detach, for 14 days, 1209600000 ms\n")
    passwords = Path(copied["STACK"]) / ".env"
    assert passwords.stat().st_mode & 0o777 == 0o600
    before = passwords.read_text(encoding="utf-8")
    said = run("make", "stack", cwd=service, **copied, KEEP_DAYS="3")
    assert said.endswith("compose --file compose.yaml up --detach, for 3 days, 259200000 ms\n")
    assert passwords.read_text(encoding="utf-8") == before


def test_a_service_says_how_to_get_the_stack_where_there_is_none(bake: Bake, fail: Run):
    said = fail("make", "stack", cwd=bake())
    assert "no stack at ../stack: copy the folder stack of the template there" in said
