"""The library passes its tests on each Python, and it and a service with the newest versions."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.baking import TOOLS, Run, copy_of_template


@pytest.mark.newest
def test_all_tests_pass_with_the_newest_versions(tmp_path: Path, run: Run):
    template = copy_of_template(tmp_path / "template")
    run("make", "upgrade", cwd=template)
    assert " passed" in run("make", "test-library", cwd=template)
    run(TOOLS / "cookiecutter", "--no-input", template, cwd=tmp_path)
    assert " passed" in run("make", "test", cwd=tmp_path / "order-book")


@pytest.mark.pythons
@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_the_library_passes_its_tests_on_each_other_python(tmp_path: Path, run: Run, minor: int):
    python = found(minor)
    if python is None or sys.version_info[:2] == (3, minor):
        pytest.skip(f"there is no Python 3.{minor} here, or it is the one of make test")
    template = copy_of_template(tmp_path / "template")
    # Not a service's: what it runs on is the library and its dependencies, and these are tested.
    assert " passed" in run("make", f"PYTHON={python}", "test-library", cwd=template)


def found(minor: int) -> str | None:
    """Return a Python 3.`minor` that starts: on the PATH, or one that pyenv keeps."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python3.{minor}"), *kept.glob(f"3.{minor}.*/bin/python3")]
    for candidate in filter(None, candidates):
        command = (candidate, "-c", "import venv, ensurepip")
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return str(candidate)
    return None
