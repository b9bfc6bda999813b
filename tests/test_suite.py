"""The library and a baked service pass their tests on each Python, and with the newest versions."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.baking import TOOLS, Run, copy_of_template


def test_a_fresh_machine_can_test_lint_and_type_check_what_was_baked(
    installed_by_pip: Path, run: Run
):
    assert " passed" in run("make", "UV=", "lint", "types", "test", cwd=installed_by_pip)


@pytest.mark.newest
def test_all_tests_pass_with_the_newest_versions(tmp_path: Path, run: Run):
    template = copy_of_template(tmp_path / "template")
    run("make", "upgrade", cwd=template)
    passes(template, run)


@pytest.mark.pythons
@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_all_tests_pass_on_each_other_python(tmp_path: Path, run: Run, minor: int):
    python = found(minor)
    if python is None or sys.version_info[:2] == (3, minor):
        pytest.skip(f"there is no Python 3.{minor} here, or it is the one of make test")
    passes(copy_of_template(tmp_path / "template"), run, f"PYTHON={python}")


def passes(template: Path, run: Run, *options: str) -> None:
    """Assert that the tests of the library and of a service pass, as they are in `template`."""
    assert " passed" in run("make", *options, "test-library", cwd=template)
    run(TOOLS / "cookiecutter", "--no-input", template, cwd=template.parent)
    assert " passed" in run("make", *options, "test", cwd=template.parent / "order-book")


def found(minor: int) -> str | None:
    """Return a Python 3.`minor` that starts: on the PATH, or one that pyenv keeps."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python3.{minor}"), *kept.glob(f"3.{minor}.*/bin/python3")]
    for candidate in filter(None, candidates):
        command = (candidate, "-c", "import venv, ensurepip")
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return str(candidate)
    return None
