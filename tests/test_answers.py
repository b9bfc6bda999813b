"""What may be answered, what is refused, and what the user reads."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import pytest
from click import ClickException

from tests.baking import SERVICE, STORES, TEMPLATE

LOCKS = [
    *(SERVICE / f"stores/{store}/requirements-dev.lock" for store in STORES),
    TEMPLATE / "twinport/requirements.lock",
]

FORM = "lower-case words joined by hyphens, please"
OWN = "the generated project has a folder of this name"
TAKEN = "a module or package of this name is in Python or among what the service installs"
REFUSED = [
    ("Order_Book", f"{FORM}: order-book"),
    ("Order Book", f"{FORM}: order-book"),
    ("OrderBook", f"{FORM}: order-book"),
    (" order  book ", f"{FORM}: order-book"),
    ("order--book-", f"{FORM}: order-book"),
    ("Logging", f"{FORM}, like order-book"),  # as `logging` is refused too
    ("1st", f"{FORM}, like order-book"),
    ("bücher", f"{FORM}, like order-book"),
    ("../up", f"{FORM}, like order-book"),
    ("", f"{FORM}, like order-book"),
    ("a" * 37, "37 characters; at most 36, please"),
    ("class", "a keyword of Python"),
    *((name, OWN) for name in ("config", "deploy", "proto", "src", "tests", "vendor")),
    *((name, OWN) for name in ("build", "dist", "node-modules")),  # git or ruff skip such folders
    *((name, TAKEN) for name in ("logging", "test", "distutils", "annotationlib")),  # Python, once
    *((name, TAKEN) for name in ("grpc", "google", "h2", "typing-extensions")),  # to be imported
    *((name, TAKEN) for name in ("twinport", "granian", "jwt", "pyinstrument")),  # the library's
    *((name, TAKEN) for name in ("grpcio", "pyjwt", "pip", "colorama")),  # to be installed
]
ACCEPTED = [
    "a",
    "a-service-with-a-rather-long-name-42",
    "a1-2b",
    "print",
    "match",
    "clients",
    "orders",
]


def ask(folder: Path, *options: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run cookiecutter in `folder` as a user does."""
    command = (Path(sys.executable).with_name("cookiecutter"), *options)
    here = os.environ | {"PWD": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=here, input=typed, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("name", "why"), REFUSED)
def test_a_bad_name_is_refused_and_nothing_is_written(bake, tmp_path, name, why):
    with pytest.raises(ClickException) as refusal:
        bake(service_name=name)
    assert refusal.value.format_message() == f"service_name {name!r}: {why}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_good_name_makes_a_package_a_command_and_a_proto_package(bake, name):
    service, package = bake(service_name=name), name.replace("-", "_")
    project = tomllib.loads((service / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {name: f"{package}.__main__:main"}
    assert (service / f"src/{package}/__init__.py").exists()
    (proto,) = service.glob("proto/**/*.proto")
    assert f"package {package}.orders.v1;" in proto.read_text(encoding="utf-8")


def test_a_refusal_is_one_line_right_after_the_question(tmp_path):
    asked = ask(tmp_path, str(TEMPLATE), typed="Order Book\n")
    assert asked.returncode == 2
    assert asked.stderr == f"Error: service_name 'Order Book': {FORM}: order-book\n"
    assert "[1/5] Service name" in asked.stdout
    assert "[2/5]" not in asked.stdout


CHOICES = {"store": STORES, "ci": ["github", "gitlab", "none"]}


@pytest.mark.parametrize("question", CHOICES)
def test_an_unknown_choice_is_refused_by_a_last_line_that_says_it_all(tmp_path, question):
    """By cookiecutter itself, before any code of a template: docs/generator.md."""
    asked = ask(tmp_path, "--no-input", str(TEMPLATE), f"{question}=mysql")
    *_, line = asked.stderr.splitlines()
    assert asked.returncode == 1
    said = f"mysql provided for choice variable {question}, but the choices are {CHOICES[question]}"
    assert line == f"ValueError: {said}."
    assert list(tmp_path.iterdir()) == []


def test_the_questions_with_choices_are_those_that_are_tried_with_an_unknown_one():
    questions = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
    lists = {name: found for name, found in questions.items() if isinstance(found, list)}
    assert {name: found for name, found in lists.items() if name[0] != "_"} == CHOICES


def test_five_questions_are_asked_and_two_commands_are_left_to_type(tmp_path):
    asked = ask(tmp_path, str(TEMPLATE), typed="tea-shop\nSells tea.\nTea Team\n2\n2\n")
    assert asked.returncode == 0
    assert re.findall(r"\[\d/(\d)\]", asked.stdout) == ["5"] * 5
    assert asked.stdout.endswith("\n    cd tea-shop\n    make run\n\n")


def test_the_commands_to_type_lead_from_here_to_a_folder_elsewhere(tmp_path):
    (tmp_path / "a b").mkdir()
    asked = ask(tmp_path, "--no-input", "-o", "a b", str(TEMPLATE))
    assert "cd 'a b/order-book'\n" in asked.stdout


def test_baking_takes_no_network_and_little_time(tmp_path):
    offline = ("unshare", "--user", "--map-root-user", "--net")
    if subprocess.run((*offline, "true"), capture_output=True, check=False).returncode:
        offline = ()  # this machine lets nobody cut a process off: the time must do
    command = (*offline, Path(sys.executable).with_name("cookiecutter"), "--no-input", TEMPLATE)
    began = getrusage(RUSAGE_CHILDREN)  # its CPU time, since a machine may do other things, too
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    ended = getrusage(RUSAGE_CHILDREN)
    assert ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime < 2


TEXT = r"""It says "hi", 'ho' and \n, {costs} 5 % & more: # <é> 🚀 $HOME `x` """


def test_any_line_of_text_may_describe_the_service_and_its_owner(bake):
    service = bake(description=TEXT, owner=TEXT)
    project = tomllib.loads((service / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (project["description"], project["authors"]) == (TEXT, [{"name": TEXT}])
    for settings in service.glob("config/*.toml"):
        tomllib.loads(settings.read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", ["", " ", "two\nlines", "\x7f"])
@pytest.mark.parametrize("question", ["description", "owner"])
def test_a_text_of_no_line_or_two_is_refused(bake, question, text):
    with pytest.raises(ClickException, match="one line of text, please"):
        bake(**{question: text})


def test_the_list_of_taken_names_is_made_from_the_present_locks():
    first = (TEMPLATE / "taken-names.txt").read_text(encoding="utf-8").splitlines()[0]
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in LOCKS)).hexdigest()
    assert first.endswith(f" {digest}"), "stale: run `make names`"


def test_the_list_of_taken_names_holds_whatever_is_installed(installed, run):
    path = TEMPLATE / "tools/taken_names.py"
    names = run(installed / ".venv/bin/python", path, *LOCKS, cwd=installed).splitlines()
    listed = (TEMPLATE / "taken-names.txt").read_text(encoding="utf-8").splitlines()
    assert set(names) - {"order-book"} <= set(listed), "incomplete: run `make names`"
