"""`make breaking`: what a change of proto/ does to those who call the service already."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def repository(installed: Path, tmp_path: Path, run) -> dict[str, str]:
    """The variables with which git takes the service for one with a first commit."""
    who = {"NAME": "Tea", "EMAIL": "tea@example.com"}
    variables = {"GIT_DIR": str(tmp_path / "git"), "GIT_WORK_TREE": str(installed)}
    variables |= {f"GIT_{by}_{key}": who[key] for by in ("AUTHOR", "COMMITTER") for key in who}
    for command in (("init",), ("add", "proto"), ("commit", "--message=First")):
        run("git", *command, cwd=installed, **variables)
    return variables


@pytest.fixture
def proto(installed: Path) -> Iterator[Path]:
    """The file of the orders; it is put back after a test that changes it."""
    (path,) = installed.glob("proto/**/*.proto")
    text = path.read_text(encoding="utf-8")
    yield path
    path.write_text(text, encoding="utf-8")


def test_without_a_tag_there_is_nothing_to_break(installed, repository, run):
    said = run("make", "breaking", cwd=installed, **repository)
    assert said.splitlines() == ["no tag has a proto/ to compare with"]


def test_what_is_new_breaks_nobody(installed, repository, proto, run):
    run("git", "tag", "v1.0.0", cwd=installed, **repository)
    with proto.open("a", encoding="utf-8") as file:
        file.write("\n// Parcel is new.\nmessage Parcel {}\n")
    said = run("make", "breaking", cwd=installed, **repository)
    assert said.splitlines() == ["comparing proto/ with that of v1.0.0"]


def test_a_field_that_is_gone_is_named(installed, repository, proto, run, environment):
    run("git", "tag", "v1.0.0", cwd=installed, **repository)
    text = proto.read_text(encoding="utf-8")
    proto.write_text(text.replace("  string sku = 1;\n", "", 1), encoding="utf-8")
    failed = subprocess.run(
        ("make", "breaking"),
        cwd=installed,
        env=environment | repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert failed.returncode == 2
    assert re.search('field "1" .*"sku" on message "CreateOrderRequest" was deleted', failed.stdout)
