"""How a service is installed: by hash from an index, and without a question for its library."""

import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.baking import SERVICE, TEMPLATE, Run, command

WITH = pytest.mark.parametrize(
    ("service", "tool"), [("installed_by_pip", ("UV=",)), ("installed", ())], ids=["pip", "uv"]
)
INSTALLING = re.compile(
    r"(?:\bpip3?\b[^`|;&]*\binstall\b|\$\((?:INSTALL|PIP)\)|\buv (?:add|tool)\b|\buvx\b|\bpipx\b)"
    r"([^`;&#}]*)"
)
OTHERS = {
    "uv",
    "run",
    "cookiecutter",
    "gh:OWNER/REPOSITORY",
    "cruft==2.16.0",
    "check",
}  # need no library of ours
KINDS = {"", ".md", ".yml", ".sh"}
SKIPPED = re.compile(r"(^|/)(\.git/|\.venv|\.build|dist/|tests/|LICENSE)|_cache|\.hypothesis")


@contextmanager
def changed(path: Path, old: str, new: str) -> Iterator[None]:
    """Keep `new` in place of `old` in a file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    yield
    path.write_text(text, encoding="utf-8")


@WITH
def test_a_lock_that_does_not_fit_the_library_is_told_in_a_line(
    request: pytest.FixtureRequest, fail: Run, service: str, tool: tuple[str, ...]
):
    folder = request.getfixturevalue(service)
    with changed(folder / "vendor/twinport/pyproject.toml", '"orjson>=', '"orjson!=3.13.0,>='):
        told, advice, _ = fail("make", "-s", *tool, "install", cwd=folder).splitlines()
    assert {"twinport", "orjson"} <= set(re.findall(r"\w+", told))
    assert advice == "make lock brings what fits"


def test_a_fresh_machine_can_test_lint_and_type_check_what_was_baked(installed_by_pip: Path):
    done = command("make", "UV=", "lint", "types", "test", cwd=installed_by_pip)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_the_types_of_the_library_are_seen(installed: Path, fail: Run):
    wrong = "import twinport\ntwinport.main(1, 2, 3, 4)\nreveal_type(twinport.main)"
    mypy = (installed / ".venv/bin/mypy", "--config-file=", "--strict")
    said = fail(*mypy, "-c", wrong, cwd=installed)
    assert "Too many arguments" in said
    assert re.search(r"Revealed type is .* -> int", said)


def test_production_has_two_wheels_and_what_is_locked_and_no_tool_for_building(
    installed: Path, tmp_path: Path, run: Run, fail: Run
):
    (installed / "dist").mkdir(exist_ok=True)
    (installed / "dist/twinport-0.0.1-py3-none-any.whl").write_text("of an earlier build")
    run("make", "wheels", cwd=installed)
    shutil.copytree(installed / "config", tmp_path / "here/config")
    python, pip = tmp_path / "venv/bin/python", ("uv", "pip", "install", "--no-deps", "--python")
    run("uv", "venv", "--python", sys.executable, "venv", cwd=tmp_path)
    run(*pip, python, "--require-hashes", "-r", installed / "requirements.lock", cwd=tmp_path)
    wheels = [*installed.glob("dist/order_book-*.whl"), *installed.glob("dist/twinport-*.whl")]
    run(*pip, python, *wheels, cwd=tmp_path)
    run("uv", "pip", "check", "--python", python, cwd=tmp_path)
    listed = run("uv", "pip", "list", "--python", python, "--format=freeze", cwd=tmp_path)
    names = set(re.findall("^[^=]+", listed, re.MULTILINE))
    assert {"order-book", "twinport"} <= names
    assert names.isdisjoint({"hatchling", "grpcio-tools", "pip", "setuptools", "pytest", "mypy"})
    check = (tmp_path / "venv/bin/order-book", "config", "check", "--env", "production")
    assert "database.shared: " in fail(*check, cwd=tmp_path / "here")  # as SQLite is not for that
    said = run(*check, "--set=database.url=postgresql://tea@shop/tea", cwd=tmp_path / "here")
    assert said.endswith("the settings for production are right\n")


def test_the_wheel_of_the_library_holds_all_of_it(installed: Path, tmp_path: Path, run: Run):
    run("make", "wheels", cwd=installed)
    (wheel,) = installed.glob("dist/twinport-*.whl")
    shutil.unpack_archive(wheel, tmp_path, "zip")
    sources = installed / "vendor/twinport/src"
    modules = (path for path in sources.rglob("*") if path.is_file() and path.suffix != ".pyc")
    missing = [path for path in modules if not (tmp_path / path.relative_to(sources)).exists()]
    assert missing == []


def test_uv_installs_and_runs_a_service_without_make(bake, run: Run):
    service = bake()
    run("uv", "sync", cwd=service)
    said = run("uv", "run", "order-book", "config", "check", cwd=service)
    assert said.endswith("the settings for development are right\n")
    (proto,) = service.glob("proto/**/*.proto")
    proto.write_text(f"{proto.read_text()}\nmessage Parcel {{}}\n")
    new = "from order_book.orders.v1.orders_pb2 import Parcel"
    run("uv", "run", "python", "-c", new, cwd=service)
    run("git", "init", "--quiet", cwd=service)
    assert "uv.lock" not in run("git", "status", "--porcelain", "-uall", cwd=service)


def test_the_locks_hold_what_the_named_extras_of_the_library_need_and_no_others(bake):
    library = tomllib.loads((TEMPLATE / "twinport/pyproject.toml").read_text())["project"]
    service = tomllib.loads((bake() / "pyproject.toml").read_text())["project"]
    (asked,) = (need for need in service["dependencies"] if need.startswith("twinport"))
    extras = set(re.findall(r"\w+", asked.split("[")[1].split("]")[0]))
    of = {extra: names(needs) for extra, needs in library["optional-dependencies"].items()}
    wanted = names(library["dependencies"]).union(*(of[extra] for extra in extras))
    others = set().union(*(of[extra] for extra in of.keys() - extras)) - wanted
    locked = names((SERVICE / "stores/sql/requirements.lock").read_text().splitlines())
    assert extras == {"server"}
    assert wanted <= locked
    assert locked.isdisjoint({*others, "twinport"})


def test_the_tools_that_generate_code_are_the_same_wherever_they_are_named(bake):
    service = bake()
    project, client = (
        tomllib.loads((service / file).read_text())
        for file in ("pyproject.toml", "client/pyproject.toml")
    )
    assert project["build-system"]["requires"] == client["build-system"]["requires"]
    assert set(project["build-system"]["requires"]) <= set(project["dependency-groups"]["dev"])


def names(needs: list[str]) -> set[str]:
    """Return what requirements name, or the lines of a lock."""
    found = (re.match(r"[A-Za-z0-9][\w.-]*", need) for need in needs)
    return {name[0].lower().replace("_", "-") for name in found if name}


def fetches(line: str) -> bool:
    """Tell whether a line could make an installer ask an index for the library."""
    if re.match(r"[A-Z]+ *[:?]?= ", line):  # a variable of a Makefile, judged where it is used
        return False
    return any(_asks(arguments) for arguments in INSTALLING.findall(line))


def _asks(arguments: str) -> bool:
    if "--no-deps" in arguments or "--require-hashes" in arguments:
        return False
    words = arguments.replace("'", " ").split()
    return not OTHERS.issuperset(word for word in words if not word.startswith("-"))


@pytest.mark.parametrize(
    "line",
    [
        "pip install twinport",
        "    python -m pip install --quiet '.[dev]'",
        "RUN uv pip install -r requirements.lock && true",
        "\t@$(INSTALL) -e .",
        "\t$(PIP) dist/*.whl",
        "what `pip install -e vendor/twinport` does",
        "uv add twinport",
        "uvx twinport",
    ],
)
def test_a_line_that_could_fetch_a_stranger_is_noticed(line: str):
    assert fetches(line)


def test_no_line_that_is_shipped_could_fetch_a_stranger():
    lines = [
        (path.relative_to(TEMPLATE), line)
        for path in shipped(TEMPLATE)
        if path.suffix in KINDS
        for line in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    ]
    installing = [line for _, line in lines if INSTALLING.search(line)]
    assert len(installing) >= 8, "or nothing is looked at"
    assert [each for each in lines if fetches(each[1])] == []


def shipped(folder: Path) -> Iterator[Path]:
    """Yield all files but those of folders in which others install or make something meanwhile."""
    for path in folder.iterdir():
        name = path.relative_to(TEMPLATE).as_posix()
        if path.is_dir() and not SKIPPED.search(f"{name}/"):
            yield from shipped(path)
        elif path.is_file() and not SKIPPED.search(name):
            yield path
