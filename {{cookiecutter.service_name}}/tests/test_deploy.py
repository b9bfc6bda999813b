"""What deploys the service gives it the time that [lifecycle] of production says."""

import json
import re
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from twinport.settings import Duration

from {{ cookiecutter.__package }}.__main__ import main

HOME = Path(__file__).parents[1]
DEPLOYMENT = "deploy/kubernetes/base/deployment.yaml"
UNIT = "deploy/systemd/*.service"
ENDPOINTS = timedelta(seconds=5)  # what a cluster takes to send nobody to a pod any more


@pytest.fixture
def waits(
    required: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, timedelta]:
    sets = [f"--set={name}={value}" for name, value in required.items()]
    command = ["", "config", "show", "--json", "--env", "production", *sets]
    monkeypatch.chdir(HOME)
    monkeypatch.setattr(sys, "argv", command)
    assert main() == 0
    shown = json.loads(capsys.readouterr().out)
    wait = TypeAdapter(Duration).validate_python
    return {name: wait(shown[f"lifecycle.{name}"]["value"]) for name in ("drain", "platform_grace")}


def seconds(pattern: str, name: str) -> timedelta:
    files = [*HOME.glob(pattern)]
    if not files:
        pytest.skip("it is not deployed so")
    (found,) = re.findall(rf"^ *{name}[:=] ?(\d+)$", files[0].read_text("utf-8"), re.MULTILINE)
    return timedelta(seconds=int(found))


def test_kubernetes_waits_as_long_as_the_service_may_take(waits: dict[str, timedelta]):
    sleep = seconds(DEPLOYMENT, "seconds")
    assert sleep == max(waits["drain"], ENDPOINTS)
    assert seconds(DEPLOYMENT, "terminationGracePeriodSeconds") == sleep + waits["platform_grace"]


def test_systemd_waits_as_long_as_the_service_may_take(waits: dict[str, timedelta]):
    assert seconds(UNIT, "TimeoutStopSec") == waits["platform_grace"]
