"""Bake the template, and work with what was baked as its users do: by `make`."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

from tests.baking import (
    TEMPLATE,
    UNCOMPILED,
    Bake,
    Run,
    command,
    commit,
    copy_of_template,
    entry_of,
    installed_in,
    variables,
)


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
def sparing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables that save time with a bake of one test.

    Of what is installed, mypy remembers what it found in the bake before.
    """
    return UNCOMPILED | {"MYPY_CACHE_DIR": str(tmp_path_factory.mktemp("mypy"))}


@pytest.fixture(scope="session")
def run(sparing: dict[str, str]) -> Run:
    """Runs a command in a folder, which must succeed, and returns what it printed."""

    def run(*words: str | Path, cwd: Path, **variables: str) -> str:
        done = command(*words, cwd=cwd, **sparing | variables)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


@pytest.fixture(scope="session")
def fail(sparing: dict[str, str]) -> Run:
    """Runs a command in a folder, which must fail, and returns what it printed."""

    def fail(*words: str | Path, cwd: Path, **variables: str) -> str:
        done = command(*words, cwd=cwd, **sparing | variables)
        assert done.returncode != 0, done.stdout
        return done.stdout

    return fail


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default service, installed with uv as it is by users, in a folder with a blank."""
    return _installed(tmp_path_factory)


@pytest.fixture(scope="session")
def installed_by_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as on a machine without uv, which takes far longer."""
    return _installed(tmp_path_factory, "UV=")


def _installed(tmp_path_factory: pytest.TempPathFactory, *options: str) -> Path:
    return installed_in(tmp_path_factory.mktemp("in stalled"), *options)


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The variables for a command that a test starts itself."""
    return variables()


@pytest.fixture
def copied(tmp_path: Path) -> dict[str, str]:
    """Variables by which a service finds a copy of the stack, and a docker that only speaks."""
    ignored = shutil.ignore_patterns(".env", "__pycache__")
    stack = shutil.copytree(TEMPLATE / "stack", tmp_path / "copied", ignore=ignored)
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\necho "$@, for $KEEP_DAYS days, $KEEP_MS ms"\n', encoding="utf-8")
    docker.chmod(0o755)
    return {"STACK": str(stack), "PATH": f"{docker.parent}:{os.environ['PATH']}"}


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """The template as a git repository of its own; its tag `before` has an older library."""
    folder = copy_of_template(tmp_path_factory.mktemp("team") / "twinport.git")
    with _as_it_was(folder):
        commit(run, folder)
    run("git", "tag", "before", cwd=folder)
    commit(run, folder, "Go on")
    return folder


@contextmanager
def _as_it_was(template: Path) -> Iterator[None]:
    """Take from the library a page and a dependency, which the locks lose too; add a module."""
    older = template / "twinport/src/twinport/older.py"
    older.write_text('"""Gone since."""\n', encoding="utf-8")
    page, project = template / "twinport/docs/logs.md", template / "twinport/pyproject.toml"
    changed = [page, project, *template.glob("{{*/stores/*/*.lock")]
    texts = {path: path.read_text(encoding="utf-8") for path in changed}
    page.unlink()
    for path in changed[1:]:
        path.write_text(_without(path.suffix, texts[path]), encoding="utf-8")
    yield
    older.unlink()
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")


def _without(kind: str, text: str) -> str:
    """Return a lock, or a pyproject.toml, without what came in since: orjson."""
    if kind == ".lock":
        return text.replace(entry_of("orjson", text), "")
    shorter, count = re.subn(r'^ *"orjson.*\n', "", text, flags=re.MULTILINE)
    assert count
    return shorter
