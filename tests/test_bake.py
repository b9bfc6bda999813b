"""What comes out of the template, whatever the service is called."""

import re
from pathlib import Path

import pytest

from tests.baking import BAKES, SERVICE, STORES

NOT_RENDERED = re.compile(r"vendor/|\.cruft\.json|.*cache")  # the last by a linter


def texts(folder: Path) -> dict[Path, str]:
    """Return the text of every file in `folder` that is text."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    kept = {name: path for name, path in files.items() if not NOT_RENDERED.match(str(name))}
    return {name: path.read_text(encoding="utf-8") for name, path in kept.items()}


@pytest.mark.parametrize("answers", BAKES, ids=lambda answers: "-".join(answers.values()))
def test_nothing_is_left_to_render(bake, answers):
    baked = texts(bake(**answers))
    assert [path for path, text in baked.items() if "cookiecutter" in f"{path}{text}"] == []
    assert [path for path, text in baked.items() if re.search(r"\{%|\{#", text)] == []


@pytest.mark.parametrize("answers", BAKES, ids=lambda answers: "-".join(answers.values()))
def test_no_line_is_left_blank_by_mistake(bake, answers):
    baked = texts(bake(**answers))
    scar = re.compile(r"\A\s|[ \t]$|\n{4}|\n\n\Z|[^\n]\Z", re.MULTILINE)
    assert [
        (path, text[m.start() - 40 : m.end()])
        for path, text in baked.items()
        if (m := scar.search(text))
    ] == []
    in_python = re.compile(r"^```python\n.*?^```", re.MULTILINE | re.DOTALL)  # as ruff wants it
    others = {path: in_python.sub("```", baked[path]) for path in baked if path.suffix != ".py"}
    assert {path for path, text in others.items() if "\n\n\n" in text} == set()


WORDS = {  # of what only this store has
    "sql": re.compile("sqlalchemy|alembic|sqlite|postgres", re.IGNORECASE),
    "redis": re.compile("redis", re.IGNORECASE),
}


@pytest.mark.parametrize("store", STORES)
def test_nothing_of_another_store_is_there(bake, store):
    baked = texts(bake(store=store))
    assert not any(path.parts[0] == "stores" for path in baked)
    assert "docs/store.md" in {path.as_posix() for path in baked}
    for other in WORDS.keys() - {store}:
        found = [path for path, text in baked.items() if WORDS[other].search(f"{path}{text}")]
        assert {path.name for path in found} <= {".gitignore"}


def test_the_sources_hold_no_jinja():
    sources = [*SERVICE.glob("src/**/*.py"), *SERVICE.glob("stores/*/src/**/*.py")]
    assert [
        path for path in sources if re.search(r"\{\{ *cookiecutter|\{%", path.read_text())
    ] == []


def test_the_tests_hold_jinja_in_import_lines_only():
    lines = (
        line
        for tests in (SERVICE / "tests", *SERVICE.glob("stores/*/tests"))
        for path in tests.rglob("*.py")
        for line in path.read_text().splitlines()
    )
    rendered = [line for line in lines if "cookiecutter" in line]
    assert [line for line in rendered if not line.startswith(("from {{", "import {{"))] == []
