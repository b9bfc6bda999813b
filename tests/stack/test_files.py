"""What needs images to start is read by the strictest reader there is; rules have tests."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from .conftest import STACK
from .elastalert import BIN

pytestmark = pytest.mark.stack

PARSE = """
import sys
from logstash_pipeline_parser import Pipeline
Pipeline(open(sys.argv[1]).read()).parse()
"""
CHOSEN = {"KEEP_DAYS": "14", "KIBANA_KEY": "k"} | {
    f"{name}_PASSWORD": "p"
    for name in ("ELASTIC", "KIBANA", "LOGSTASH", "ZIPKIN", "ELASTALERT", "KEEPER", "READER")
}


def run(*words: str | Path, cwd: Path = STACK, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=cwd,
        env=os.environ | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def tools() -> Path:
    if not BIN.exists():
        pytest.skip("there is no Python of 3.12 or newer")
    return BIN


@pytest.mark.parametrize("name", ["compose.yaml", "lite.yaml"])
def test_compose_takes_its_file_and_refuses_it_without_passwords(tools: Path, name: str):
    command = (tools / "docker-compose", "-f", name, "config")
    done = run(*command, **CHOSEN)
    assert done.returncode == 0, done.stdout
    services = yaml.safe_load(done.stdout)["services"]
    assert "--storage.tsdb.retention.time=14d" in services["prometheus"]["command"]
    assert run(*command, "--quiet").returncode != 0


def test_a_file_that_includes_the_stack_needs_no_more_than_its_first_start_has_made(
    tools: Path, tmp_path: Path, copied: dict[str, str]
):
    started = run(f"{copied['STACK']}/start.sh", **copied)
    assert started.returncode == 0, started.stdout
    including = f"include: [{copied['STACK']}/compose.yaml]\n"
    (tmp_path / "compose.yaml").write_text(including, encoding="utf-8")
    done = run(tools / "docker-compose", "config", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    services = yaml.safe_load(done.stdout)["services"]
    days, lookback = (
        services["keeper"]["environment"]["KEEP_DAYS"],
        services["zipkin"]["environment"]["QUERY_LOOKBACK"],
    )
    assert int(lookback) == int(days) * 24 * 60 * 60 * 1000


@pytest.mark.parametrize(
    "path", sorted((STACK / "logstash/pipeline").iterdir()), ids=lambda p: p.stem
)
def test_a_pipeline_of_logstash_is_well_formed(tools: Path, path: Path, tmp_path: Path):
    done = run(tools / "python", "-c", PARSE, path)
    assert done.returncode == 0, done.stdout
    broken = tmp_path / "broken.conf"
    broken.write_text(path.read_text(encoding="utf-8").replace("=>", "=", 1), encoding="utf-8")
    assert run(tools / "python", "-c", PARSE, broken).returncode != 0


def test_the_rules_of_prometheus_fire_when_they_should():
    folder = STACK / "prometheus"
    done = run("promtool", "test", "rules", "services.yml", cwd=folder / "tests")
    assert done.returncode == 0, done.stdout
    text = (folder / "prometheus.yml").read_text(encoding="utf-8")
    assert "/etc/prometheus/" in text
    assert run("promtool", "check", "rules", "rules/services.yml", cwd=folder).returncode == 0
