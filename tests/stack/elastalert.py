"""The real ElastAlert2 with the rules of the stack, told by its environment as its container is."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.backend import wait_until
from twinport.testing import Running, own_environment

from .conftest import STACK
from .node import BUILD

BIN = BUILD / ".venv/bin"
CREATED_S = 180
VARIABLE = re.compile(r"\$\{(\w+):-(.*)\}")


class ElastAlert:
    """A started one."""

    def __init__(self, process: Running) -> None:
        self._process = process

    def runs(self) -> int:
        """Return how often all rules have been asked for, by the one that ran least."""
        ran = re.findall(r"Ran ([\w ]+) from", "\n".join(list(self._process.output)))
        return min((ran.count(name) for name in rules()), default=0)

    def wait_for_runs(self, more: int, seconds: float = 240) -> None:
        goal = self.runs() + more
        wait_until(lambda: self.runs() >= goal, seconds)

    def output(self) -> str:
        return "\n".join(list(self._process.output))


def rules() -> list[str]:
    """Return the names of the rules."""
    paths = sorted((STACK / "elastalert/rules").glob("*.yaml"))
    return [_parsed(path)["name"] for path in paths]


def defaults() -> dict[str, str]:
    """Return what the Compose file tells it unless something else is chosen."""
    compose = yaml.safe_load((STACK / "compose.yaml").read_text(encoding="utf-8"))
    told: Mapping[str, str] = compose["services"]["elastalert"]["environment"]
    found = {name: VARIABLE.fullmatch(value) for name, value in told.items()}
    return {name: match[2] for name, match in found.items() if match}


@contextmanager
def elastalert(chosen: Mapping[str, str]) -> Iterator[ElastAlert]:
    """Keep it running, with `chosen` beside the defaults of the Compose file."""
    if not BIN.exists():
        pytest.skip("there is no Python of 3.12 or newer")
    folder = STACK / "elastalert"
    variables = own_environment() | defaults() | {"PYTHONPATH": str(folder)} | dict(chosen)
    create = (str(BIN / "elastalert-create-index"), "--config", "config.yaml")
    with Running(create, folder, variables) as creating:
        assert creating.exit_status(CREATED_S) == 0, creating.output
    command = (str(BIN / "elastalert"), "--config", "config.yaml", "--verbose")
    with Running(command, folder, variables) as process:
        yield ElastAlert(process)


def _parsed(path: Path) -> dict[str, Any]:
    text = re.sub(r"\$\{\w+\}", "1", path.read_text(encoding="utf-8"))
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed
