"""What comes out of the template, whatever the service is called."""

import re
from pathlib import Path

import pytest

from tests.baking import NAMES, SERVICE

NOT_RENDERED = re.compile(r"vendor/|\.cruft\.json|.*cache")  # the last by a linter


def texts(folder: Path) -> dict[Path, str]:
    """Return the text of every file in `folder` that is text."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    kept = {name: path for name, path in files.items() if not NOT_RENDERED.match(str(name))}
    return {name: path.read_text(encoding="utf-8") for name, path in kept.items()}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_to_render(bake, name):
    baked = texts(bake(service_name=name))
    assert [path for path, text in baked.items() if "cookiecutter" in f"{path}{text}"] == []
    assert [path for path, text in baked.items() if re.search(r"\{%|\{#", text)] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_line_is_left_blank_by_mistake(bake, name):
    baked = texts(bake(service_name=name))
    scar = re.compile(r"\A\s|[ \t]$|\n{4}|\n\n\Z|[^\n]\Z", re.MULTILINE)
    assert [
        (path, text[m.start() - 40 : m.end()])
        for path, text in baked.items()
        if (m := scar.search(text))
    ] == []
    in_python = re.compile(r"^```python\n.*?^```", re.MULTILINE | re.DOTALL)  # as ruff wants it
    others = {path: in_python.sub("```", baked[path]) for path in baked if path.suffix != ".py"}
    assert {path for path, text in others.items() if "\n\n\n" in text} == set()


def test_the_sources_hold_no_jinja():
    sources = SERVICE.glob("src/**/*.py")
    assert [
        path for path in sources if re.search(r"\{\{ *cookiecutter|\{%", path.read_text())
    ] == []


def test_the_tests_hold_jinja_in_import_lines_only():
    lines = (
        line for path in SERVICE.glob("tests/**/*.py") for line in path.read_text().splitlines()
    )
    rendered = [line for line in lines if "cookiecutter" in line]
    assert [line for line in rendered if not line.startswith(("from {{", "import {{"))] == []
