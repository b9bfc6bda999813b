"""The library passes its tests on each Python, and it and a service with the newest versions."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.baking import TEMPLATE, TOOLS, Run, command, copy_of_template, locked

PROJECTS = ("twinport/pyproject.toml", "{{cookiecutter.service_name}}/pyproject.toml")
REQUIREMENT = re.compile(r'"([a-z][\w.-]*(?:\[[\w,]+\])?)((?:[<>=~]=?[\w.]+,?)+)')
MINORS = (11, 12, 13, 14)  # of the Pythons to try
FEWER = "WORKERS=3"  # another suite runs beside this one
BRIEF = "PROFILE=brief"  # which has the usual examples
OF_BOUNDS = "tests/test_packaging.py::test_each_dependency_has_a_floor_and_a_ceiling"


@pytest.mark.newest
def test_all_tests_pass_with_the_newest_versions(tmp_path: Path, run: Run):
    """On the newest Python too: of what is new, the tests with the locks have seen none."""
    template, python = copy_of_template(tmp_path / "template"), f"PYTHON={newest_python()}"
    run("make", python, "upgrade", cwd=template)
    assert " passed" in run("make", python, "test-library", FEWER, BRIEF, cwd=template)
    run(TOOLS / "cookiecutter", "--no-input", template, cwd=tmp_path)
    assert " passed" in run("make", python, "test", cwd=tmp_path / "order-book")


@pytest.fixture(scope="module")
def unbounded(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """A copy of the template without our upper bounds, with the newest versions."""
    template = copy_of_template(tmp_path_factory.mktemp("unbounded") / "template")
    ignore_bounds(template)
    run("make", "upgrade", cwd=template)
    run(TOOLS / "cookiecutter", "--no-input", template, cwd=template.parent)
    print("beyond our bounds:", *beyond_bounds(template), sep="\n  ")
    return template


@pytest.mark.next
@pytest.mark.parametrize(
    ("folder", "target"), [("template", "test-library"), ("order-book", "test")]
)
def test_the_newest_versions_break_nothing(unbounded: Path, folder: str, target: str):
    options = {"PYTEST_ADDOPTS": f"--tb=line --deselect={OF_BOUNDS}"}
    done = command("make", target, cwd=unbounded.parent / folder, **options)
    broken = re.findall(r"^(?:FAILED|ERROR) .*", done.stdout, re.MULTILINE)
    assert done.returncode == 0, "\n".join(broken or [done.stdout])


def test_without_bounds_each_requirement_has_a_floor_alone(tmp_path: Path):
    template = copy_of_template(tmp_path / "template")
    ignore_bounds(template)
    for project in PROJECTS:
        before, after = (requirements(folder / project) for folder in (TEMPLATE, template))
        assert [each.name for each in after] == [each.name for each in before]
        assert {each.operator for found in after for each in found.specifier} == {">="}


def ignore_bounds(template: Path) -> None:
    for project in PROJECTS:
        path = template / project
        path.write_text(REQUIREMENT.sub(_floor, path.read_text("utf-8")), "utf-8")


def _floor(found: re.Match[str]) -> str:
    return f'"{found[1]}>={re.split("[<>=~,]+", found[2])[1]}'


def requirements(project: Path) -> list[Requirement]:
    return [Requirement("".join(each)) for each in REQUIREMENT.findall(project.read_text("utf-8"))]


def beyond_bounds(template: Path) -> Iterator[str]:
    """Yield what the lock of the library has and the bounds of the original forbid."""
    versions = locked(template / "twinport/requirements.lock")
    for each in requirements(TEMPLATE / "twinport/pyproject.toml"):
        version = versions.get(each.name, "").partition(" ")[0]
        if version and not each.specifier.contains(version, prereleases=True):
            yield f"{each.name} {version} ({each.specifier})"


@pytest.mark.pythons
@pytest.mark.parametrize("minor", MINORS)
def test_the_library_passes_its_tests_on_each_other_python(tmp_path: Path, run: Run, minor: int):
    python = found(minor)
    if python is None or sys.version_info[:2] == (3, minor):
        pytest.skip(f"there is no Python 3.{minor} here, or it is the one of make test")
    template = copy_of_template(tmp_path / "template")
    # Not a service's: what it runs on is the library and its dependencies, and these are tested.
    assert " passed" in run("make", f"PYTHON={python}", "test-library", FEWER, cwd=template)


def newest_python() -> str:
    return next(filter(None, map(found, reversed(MINORS))), sys.executable)


def found(minor: int) -> str | None:
    """Return a Python 3.`minor` that starts: on the PATH, or one that pyenv keeps."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python3.{minor}"), *kept.glob(f"3.{minor}.*/bin/python3")]
    for candidate in filter(None, candidates):
        command = (candidate, "-c", "import venv, ensurepip")
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return str(candidate)
    return None
