"""Requests that schemathesis makes up from the OpenAPI document, right ones and wrong ones."""

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.peers

HERE = Path(__file__).parent
SCHEMATHESIS = HERE.parents[1] / ".build/peers/bin/schemathesis"


def test_schemathesis_is_not_surprised(service, environment):
    address = f"http://127.0.0.1:{service.http}"
    hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_lines", "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        (
            SCHEMATHESIS,
            "--config-file",
            HERE / "schemathesis.toml",
            "run",
            f"{address}/openapi.json",
        ),
        env=environment | hooks | {"BASE_URL": address, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 selected / 7 total" in done.stdout
    assert "skipped" not in done.stdout
