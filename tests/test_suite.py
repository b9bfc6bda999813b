"""The tests of a baked service pass: here, on each Python, and with the newest versions."""

import os
import re
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

CALM = "WORKERS=2"  # and not eight, on a machine that may do other things, too
SLIPS = 3  # so many of some 1,900 tests may fail, and pass when they are run once more
LATE = """
test:
\t@if [ "$$PYTEST_ADDOPTS" != --last-failed ]; then echo "= {failed} failed, 9 passed ="; exit 1; fi
""".rstrip()


def assert_it_passes_its_tests(service: Path, run, *options: str) -> None:
    """Assert that `make test` passes. On a machine that does other things, too, a few of the tests
    that deal in tenths of a second may find it too slow: they get one more turn, by themselves,
    and a warning at the end of the run names them. What fails twice fails."""
    try:
        assert " passed" in run("make", "test", CALM, *options, cwd=service)
    except AssertionError as failed:
        count = re.search(r"^ *=+ (\d+) failed, \d+ passed", str(failed), re.MULTILINE)
        if count is None or int(count[1]) > SLIPS:
            raise
        run("make", "test", "WORKERS=1", *options, cwd=service, PYTEST_ADDOPTS="--last-failed")
        warnings.warn(f"what failed here passed at its second turn: {failed}", stacklevel=2)


def test_a_few_tests_that_were_late_get_one_more_turn(tmp_path, run):
    (tmp_path / "Makefile").write_text(LATE.format(failed=SLIPS))
    with pytest.warns(match=f"{SLIPS} failed, 9 passed"):
        assert_it_passes_its_tests(tmp_path, run)


@pytest.mark.parametrize(
    "makefile", [LATE.format(failed=SLIPS + 1), f"{LATE.format(failed=1)}; false"]
)
def test_many_tests_that_fail_and_what_fails_twice_make_it_fail(tmp_path, run, makefile):
    (tmp_path / "Makefile").write_text(makefile)
    with pytest.raises(AssertionError):
        assert_it_passes_its_tests(tmp_path, run)


def test_a_fresh_machine_can_test_lint_and_type_check_what_was_baked(installed, run):
    assert_it_passes_its_tests(installed, run)
    run("make", "lint", "types", cwd=installed)


@pytest.mark.newest
def test_a_service_passes_its_tests_with_the_newest_versions(bake, run):
    service = bake()
    run("make", "upgrade", cwd=service)
    assert_it_passes_its_tests(service, run)


@pytest.mark.pythons
@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_a_service_passes_its_tests_on_each_python(bake, run, minor):
    python = found(minor)
    if python is None:
        pytest.skip(f"there is no Python 3.{minor} here")
    service = bake()
    print(run(python, "--version", cwd=service))
    assert_it_passes_its_tests(service, run, f"PYTHON={python}")


def found(minor: int) -> str | None:
    """Return a Python 3.`minor` that starts: on the PATH, or one that pyenv keeps."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python3.{minor}"), *kept.glob(f"3.{minor}.*/bin/python3")]
    for candidate in filter(None, candidates):
        command = (candidate, "-c", "import venv, ensurepip")
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return str(candidate)
    return None
