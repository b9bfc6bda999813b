"""What a team takes over of the template later: everything by cruft, or the library alone."""

import json
import re
from pathlib import Path

import pytest

from tests.baking import Run, commit

LOCKS = ("requirements.lock", "requirements-dev.lock")


@pytest.fixture
def service(tmp_path: Path, repository: Path, run: Run) -> Path:
    """A service of an older commit, in a repository of its own, with a dependency of its own."""
    config = tmp_path / "cookiecutter.yaml"
    kept = {name: str(tmp_path / name) for name in ("cookiecutters_dir", "replay_dir")}
    config.write_text(json.dumps(kept))
    bake = ("cookiecutter", "--no-input", f"--config-file={config}", "--checkout=before")
    run(*bake, f"file://{repository}", cwd=tmp_path)
    folder = tmp_path / "order-book"
    project = folder / "pyproject.toml"
    needs = project.read_text().replace('  "twinport[', '  "click>=8",\n  "twinport[')
    project.write_text(needs)
    run("make", "lock", cwd=folder)
    commit(run, folder)
    return folder


def locked(service: Path) -> list[set[str]]:
    """Return the names in both locks."""
    texts = ((service / lock).read_text() for lock in LOCKS)
    return [set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE)) for text in texts]


def test_an_update_leaves_the_locks_to_the_team_and_locking_follows(service: Path, run: Run):
    before = [(service / lock).read_text() for lock in LOCKS]
    assert all("click" in names and "orjson" not in names for names in locked(service))
    run("cruft", "update", "--skip-apply-ask", cwd=service)
    status = run("git", "status", "--porcelain", cwd=service)
    assert not re.search("^(U|.U|AA)", status, re.MULTILINE), status
    assert "orjson" in (service / "vendor/twinport/pyproject.toml").read_text()
    assert [(service / lock).read_text() for lock in LOCKS] == before
    run("make", "lock", cwd=service)
    assert all({"click", "orjson"} <= names for names in locked(service))
    run("make", "install", cwd=service)


def test_the_library_alone_is_taken_by_one_command(service: Path, repository: Path, run: Run):
    own = service / "Makefile"
    own.write_text(f"{own.read_text()}\n# of the team\n")
    commit(run, service, "Change")
    said = run("make", "library", f"FROM={repository}", cwd=service)
    assert re.fullmatch(r"twinport \d+\.\d+\.\d+; next: make lock test\n", said)
    changed = run("git", "status", "--porcelain", "--untracked-files=all", cwd=service)
    paths = {line[3:] for line in changed.splitlines()}
    assert "vendor/twinport/src/twinport/older.py" in paths
    assert [path for path in paths if not path.startswith("vendor/twinport/")] == []
    run("make", "library", f"FROM=file://{repository}", "REF=before", cwd=service)
    assert run("git", "status", "--porcelain", cwd=service) == ""


def test_an_update_follows_upon_a_library_that_was_taken_alone(
    service: Path, repository: Path, run: Run
):
    run("make", "library", f"FROM={repository}", cwd=service)
    commit(run, service, "Take the library")
    run("cruft", "update", "--skip-apply-ask", cwd=service)
    assert run("git", "diff", "--diff-filter=U", "--name-only", cwd=service) == ""
    assert not list(service.rglob("*.rej"))
    assert not (service / "vendor/twinport/src/twinport/older.py").exists()
    page = "docs/logs.md"
    assert (service / "vendor/twinport" / page).read_text() == (
        repository / "twinport" / page
    ).read_text()


WRONG = (["FROM=/nowhere"], ["REF=no-such-tag"], ["PARTS=src no-such-part"], ["FROM="])


def test_a_library_that_cannot_be_taken_leaves_the_one_that_is_there(
    service: Path, repository: Path, fail: Run, run: Run
):
    status = ("status", "--porcelain", "--untracked-files=all", "--ignored=matching", "vendor")
    for wrong in WRONG:
        fail("make", "library", f"FROM={repository}", *wrong, cwd=service)
        assert run("git", *status, cwd=service) == "", wrong
