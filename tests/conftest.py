"""Bake the template, and work with what was baked as its users do: by `make`."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

from twinport.testing import own_environment

TEMPLATE = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent  # where the template's own tools are: cookiecutter, cruft, uv

Bake = Callable[..., Path]
Run = Callable[..., str]


@pytest.fixture
def bake(tmp_path: Path) -> Bake:
    """Bakes a service with the answers that are given, and returns its folder."""

    def bake(**answers: str) -> Path:
        return Path(
            cookiecutter(
                str(TEMPLATE), no_input=True, output_dir=str(tmp_path), extra_context=answers
            )
        )

    return bake


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The variables for a command that a test starts."""
    return own_environment() | {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="session")
def run(environment: dict[str, str]) -> Run:
    """Runs a command in a folder, which must succeed, and returns what it printed."""

    def run(*command: str | Path, cwd: Path, **variables: str) -> str:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """The default service, installed as on a machine without uv, in a folder with a blank."""
    folder = tmp_path_factory.mktemp("in stalled")
    service = Path(cookiecutter(str(TEMPLATE), no_input=True, output_dir=str(folder)))
    run("make", "UV=", "install", cwd=service)
    return service
