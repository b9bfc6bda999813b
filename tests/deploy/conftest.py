"""A bake, and the tools that look at what it deploys."""

from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

from tests.baking import TEMPLATE, Run, command

CHECKS = TEMPLATE / ".build/checks/bin"


@pytest.fixture(scope="session")
def service_in_memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without a database, which needs nobody beside it."""
    folder, answers = tmp_path_factory.mktemp("memory"), {"store": "memory"}
    made = cookiecutter(str(TEMPLATE), no_input=True, output_dir=str(folder), extra_context=answers)
    return Path(made)


@pytest.fixture(scope="session")
def installed_in_memory(service_in_memory: Path, run: Run) -> Path:
    run("make", "install", cwd=service_in_memory)
    return service_in_memory


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baked service, as it is; nothing is installed in it."""
    folder = tmp_path_factory.mktemp("baked")
    return Path(cookiecutter(str(TEMPLATE), no_input=True, output_dir=str(folder)))


@pytest.fixture(scope="session")
def finds_nothing() -> Run:
    """Runs one of the tools that check in a folder: it must be content, and say so in one way."""

    def finds_nothing(tool: str, *arguments: str | Path, cwd: Path) -> str:
        done = command(CHECKS / tool, *arguments, cwd=cwd)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return finds_nothing
