"""The ways to reach the template, and what a service knows of the one it came by."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.baking import TEMPLATE, TOOLS, Run, commit, copy_of_template

PARTS = ("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "docs", "src")
LEFTOVERS = (
    "src/twinport.egg-info/PKG-INFO",
    "src/twinport/__pycache__/errors.cpython-311.pyc",
    "src/twinport/stray.pyc",
    "src/twinport/.mypy_cache/x.json",
    "docs/.DS_Store",
    "docs/logs.md~",
    ".venv/bin/python",
    "dist/twinport-0.0.1.tar.gz",
)


class Place:
    """A folder in which services are baked, with a cookiecutter that has kept nothing."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder, self.run = folder, run
        self.config = folder / "cookiecutter.yaml"
        kept = {name: str(folder / name) for name in ("cookiecutters_dir", "replay_dir")}
        self.config.write_text(json.dumps(kept))
        self.service = folder / "order-book"

    def cookiecutter(self, *options: str | Path, **variables: str) -> str:
        return self._by("cookiecutter", "--no-input", *options, **variables)

    def cruft(self, *options: str | Path, cwd: str = "order-book", **variables: str) -> str:
        return self._by("cruft", *options, cwd=cwd, **variables)

    def _by(self, tool: str, *options: str | Path, cwd: str = ".", **variables: str) -> str:
        variables |= {"COOKIECUTTER_CONFIG": str(self.config)}
        return self.run(TOOLS / tool, *options, cwd=self.folder / cwd, **variables)

    def vendored(self) -> dict[str, bytes]:
        """Return what the service holds of the library."""
        home = self.service / "vendor/twinport"
        files = (path for path in home.rglob("*") if path.is_file())
        return {path.relative_to(home).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def place(tmp_path: Path, run: Run) -> Place:
    return Place(tmp_path, run)


def from_a_path(place: Place, repository: Path) -> None:
    place.cookiecutter(repository)


def from_a_dirty_tree(place: Place, repository: Path) -> None:
    template = shutil.copytree(repository, place.folder / "template")
    for name in LEFTOVERS:
        path = template / "twinport" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left over")
    place.cookiecutter(template)


def from_a_url(place: Place, repository: Path) -> None:
    place.cookiecutter(f"file://{repository}")


def from_a_zip(place: Place, repository: Path) -> None:
    archive = ("archive", "--prefix=twinport/", f"--output={place.folder}/twinport.zip", "HEAD")
    place.run("git", *archive, cwd=repository)
    place.cookiecutter("twinport.zip")


def from_a_clone_on_windows(place: Place, repository: Path) -> None:
    as_there = ("-c", "core.symlinks=false", "-c", "core.autocrlf=true")
    place.run("git", *as_there, "clone", "-q", repository, "template", cwd=place.folder)
    place.cookiecutter(place.folder / "template")


def by_cruft(place: Place, repository: Path) -> None:
    place.cruft("create", "--no-input", f"file://{repository}", cwd=".")


def by_an_update_of_cruft(place: Place, repository: Path) -> None:
    place.cruft("create", "--no-input", "--checkout=before", f"file://{repository}", cwd=".")
    assert "src/twinport/older.py" in place.vendored()
    commit(place.run, place.service)
    place.cruft("update", "--skip-apply-ask")


@pytest.mark.parametrize(
    "way",
    [
        from_a_path,
        from_a_dirty_tree,
        from_a_url,
        from_a_zip,
        from_a_clone_on_windows,
        by_cruft,
        by_an_update_of_cruft,
    ],
)
def test_a_service_holds_the_same_library_whichever_way_it_came(
    place: Place, repository: Path, way: Callable[[Place, Path], None]
):
    way(place, repository)
    home = repository / "twinport"
    committed = place.run("git", "ls-files", *PARTS, cwd=home).splitlines()
    assert {"LICENSE", "docs/logs.md", "src/twinport/py.typed"} <= set(committed)
    assert place.vendored() == {name: (home / name).read_bytes() for name in committed}


def test_baking_over_an_older_bake_leaves_nothing_of_its_library(place: Place, repository: Path):
    place.cookiecutter("--checkout=before", f"file://{repository}")
    place.cookiecutter("--overwrite-if-exists", f"file://{repository}")
    assert "src/twinport/older.py" not in place.vendored()


def test_without_hooks_make_says_what_is_missing_and_how_to_get_it(
    place: Place, repository: Path, fail: Run
):
    place.cookiecutter("--accept-hooks=no", repository)
    for goals in ((), ("run",), ("lock", "test")):
        (line,) = fail("make", *goals, cwd=place.service).splitlines()
        assert "vendor/twinport is missing" in line
        assert "make library FROM=" in line
    place.run("make", "library", f"FROM={repository}", cwd=place.service)
    assert place.run("make", cwd=place.service).startswith("make help")


def origin(place: Place) -> dict[str, object]:
    return json.loads((place.service / ".cruft.json").read_text(encoding="utf-8"))


def test_a_bake_records_where_it_came_from_as_cruft_does(
    tmp_path_factory: pytest.TempPathFactory, place: Place, repository: Path, run: Run
):
    place.cookiecutter(repository)
    other = Place(tmp_path_factory.mktemp("other"), run)
    assert "not recorded" not in other.cruft("create", "--no-input", repository, cwd=".")
    assert origin(place) == origin(other)
    assert str(place.folder) not in (place.service / ".cruft.json").read_text(encoding="utf-8")
    place.cruft("check")


def test_a_bake_of_an_older_commit_is_updated(place: Place, repository: Path):
    place.cookiecutter("--checkout=before", f"file://{repository}")
    assert origin(place)["checkout"] == "before"
    assert "src/twinport/older.py" in place.vendored()
    place.cruft("update", "--skip-apply-ask")
    assert "src/twinport/older.py" not in place.vendored()
    place.cruft("check")


def test_an_abbreviation_is_recorded_as_the_address_behind_it(place: Place, repository: Path):
    instead = {  # git goes to the repository here where it is told https://github.com
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{repository.parent}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/team/",
    }
    place.cookiecutter("gh:team/twinport", **instead)
    assert origin(place)["template"] == "https://github.com/team/twinport.git"
    place.cruft("check", **instead)


def from_a_relative_path(place: Place, repository: Path) -> str:
    return place.cookiecutter(os.path.relpath(repository, place.folder))


def from_within_another_repository(place: Place, repository: Path) -> str:
    template = copy_of_template(place.folder / "outer/template")
    commit(place.run, template.parent)
    return place.cookiecutter(template)


def with_a_change_that_is_not_committed(place: Place, repository: Path) -> str:
    template = shutil.copytree(repository, place.folder / "template")
    (template / "README.md").write_text("changed")
    return place.cookiecutter(template)


def from_an_archive(place: Place, repository: Path) -> str:
    archive = ("archive", "--prefix=twinport/", f"--output={place.folder}/twinport.zip", "HEAD")
    place.run("git", *archive, cwd=repository)
    return place.cookiecutter("twinport.zip")


def where_there_is_no_git(place: Place, repository: Path) -> str:
    return place.cookiecutter(repository, PATH=str(place.folder))


@pytest.mark.parametrize(
    ("way", "why"),
    [
        (from_a_relative_path, "the path of the template is relative"),
        (from_within_another_repository, "the template is no git repository of its own"),
        (with_a_change_that_is_not_committed, "the template has changes that are not committed"),
        (from_an_archive, "a zip archive has no commits"),
        (where_there_is_no_git, "[Errno 2] No such file or directory: 'git'"),
    ],
)
def test_what_cruft_could_not_find_again_is_not_recorded(
    place: Place, repository: Path, way: Callable[[Place, Path], str], why: str
):
    said = [line for line in way(place, repository).splitlines() if "not recorded" in line]
    assert len(said) == 1
    assert said[0].endswith(f": {why}.")
    assert not (place.service / ".cruft.json").exists()


def test_a_service_can_be_baked_and_installed_where_paths_have_blanks(tmp_path, run):
    template, here = copy_of_template(tmp_path / "a template"), tmp_path / "a place"
    here.mkdir()
    run(TOOLS / "cookiecutter", "--no-input", template, cwd=here)
    run("make", "install", cwd=here / "order-book")
    assert run("make", "proto", cwd=here / "order-book").endswith(
        "Nothing to be done for 'proto'.\n"
    )


def test_every_target_that_a_page_tells_to_make_exists():
    pages = [TEMPLATE / "README.md", *TEMPLATE.glob("docs/*.md"), *TEMPLATE.glob("*/docs/*.md")]
    pages += TEMPLATE.glob("*/README.md")
    commands = re.compile(r"(?:^ {4}|`)make ([a-z.][\w./-]*)", re.MULTILINE)
    named = {target for page in pages for target in commands.findall(page.read_text())}
    folders = (TEMPLATE, *TEMPLATE.glob("{{*"))
    rules = "\n".join((folder / "Makefile").read_text() for folder in folders)
    known = set(re.findall(r"^([\w./-]+):", rules, re.MULTILINE))
    assert {"demo", "run"} <= named
    assert named - known == set()


def test_each_target_that_ci_makes_is_made_by_a_workflow_too():
    commands = re.findall(r"^make (.*)", (TEMPLATE / ".ci/run").read_text(), re.MULTILINE)
    made = {
        word for words in commands for word in words.split() if re.fullmatch(r"[a-z][a-z-]*", word)
    }
    workflows = "\n".join(path.read_text() for path in TEMPLATE.glob(".github/workflows/*.yml"))
    assert {"test", "cost"} <= made
    assert made - {*re.findall(r"run: make (\S+)", workflows)} == set()
