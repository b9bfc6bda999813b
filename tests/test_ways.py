"""The ways to reach the template: a path with blanks, a clone, an abbreviation, cruft."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

TEMPLATE = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent
NOT_PART_OF_IT = shutil.ignore_patterns(".git", ".venv", ".build", ".*_cache", "__pycache__")


def copy(to: Path) -> Path:
    return shutil.copytree(TEMPLATE, to, ignore=NOT_PART_OF_IT)


@pytest.fixture
def repository(tmp_path, run) -> Path:
    """The template as a git repository of its own, of one commit."""
    folder = copy(tmp_path / "team/tandem.git")
    who = ("-c", "user.name=Tea", "-c", "user.email=tea@example.org")
    run("git", "init", "--quiet", cwd=folder)
    run("git", "add", ".", cwd=folder)
    run("git", *who, "commit", "--quiet", "-m", "Start", cwd=folder)
    return folder


def test_a_service_can_be_baked_and_installed_where_paths_have_blanks(tmp_path, run):
    template, here = copy(tmp_path / "a template"), tmp_path / "a place"
    here.mkdir()
    run(TOOLS / "cookiecutter", "--no-input", template, cwd=here)
    run("make", "install", cwd=here / "order-book")
    assert run("make", "proto", cwd=here / "order-book").endswith(
        "Nothing to be done for 'proto'.\n"
    )


def test_a_service_can_be_baked_by_abbreviation(tmp_path, repository, run):
    config = {
        "abbreviations": {"gh": f"file://{repository.parent.parent}/{{0}}.git"},
        "cookiecutters_dir": str(tmp_path / "clones"),
        "replay_dir": str(tmp_path / "replay"),
    }
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    command = ("cookiecutter", "--config-file", "config.yaml", "--no-input", "gh:team/tandem")
    run(TOOLS / command[0], *command[1:], cwd=tmp_path)
    assert (tmp_path / "order-book/Makefile").exists()


def test_a_service_made_by_cruft_knows_where_it_came_from(tmp_path, repository, run):
    run(TOOLS / "cruft", "create", "--no-input", f"file://{repository}", cwd=tmp_path)
    made = json.loads((tmp_path / "order-book/.cruft.json").read_text())
    assert made["template"].endswith(str(repository))
    run(TOOLS / "cruft", "check", cwd=tmp_path / "order-book")


def test_every_target_that_a_page_tells_to_make_exists():
    pages = [TEMPLATE / "README.md", *TEMPLATE.glob("docs/*.md"), *TEMPLATE.glob("*/docs/*.md")]
    commands = re.compile(r"(?:^ {4}|`)make ([a-z.][\w./-]*)", re.MULTILINE)
    named = {target for page in pages for target in commands.findall(page.read_text())}
    folders = (TEMPLATE, *TEMPLATE.glob("{{*"))
    rules = "\n".join((folder / "Makefile").read_text() for folder in folders)
    known = set(re.findall(r"^([\w./-]+):", rules, re.MULTILINE))
    assert {"demo", "run"} <= named
    assert named - known == set()
