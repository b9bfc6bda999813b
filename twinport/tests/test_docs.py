"""What the pages show can be typed as it stands: settings are taken, imports and tests run."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import sample
import twinport
from sample.settings import Settings
from twinport.settings import Sources, load
from twinport.settings.reference import reference

from support.places import SAMPLE

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(toml|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)\)")
REFERENCE = "settings.md"
PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")])
OLD = ("runtime/", "runtime.", "tests/runtime", "make docs`", "{{", "andem")


def blocks(wanted: str) -> Iterator[Any]:
    """Yield the examples of all pages but the reference, where every line is commented out."""
    for page in (page for page in PAGES if page.name != REFERENCE):
        examples = enumerate(examples_of(page, wanted), 1)
        yield from (pytest.param(each, id=f"{page.name} {number}") for number, each in examples)


def examples_of(page: Path, wanted: str) -> list[str]:
    """Return what a page shows in a language; our sample stands in for its order book."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    examples = [content for language, content in found if language == wanted]
    return [example.replace("order_book", sample.__name__) for example in examples]


@pytest.mark.parametrize("content", [*blocks("toml")])
def test_an_example_of_settings_is_taken(tmp_path: Path, content: str):
    (tmp_path / "default.toml").write_text((SAMPLE / "config/default.toml").read_text())
    (tmp_path / "shown.toml").write_text(content, encoding="utf-8")
    load(Settings, Sources(Settings.__module__.partition(".")[0], tmp_path, "shown"))


@pytest.mark.parametrize("content", [*blocks("python")])
def test_an_example_in_python_imports_what_is_there(content: str):
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.ImportFrom):
            module = import_module(node.module or "")
            assert [each.name for each in node.names if not hasattr(module, each.name)] == []


def test_the_tests_that_are_shown_pass(tmp_path: Path):
    shutil.copytree(SAMPLE / "config", tmp_path / "config")
    tests = tmp_path / "tests"
    tests.mkdir()
    conftest, *examples = examples_of(ROOT / "docs/testing.md", "python")
    (tests / "conftest.py").write_text(conftest)
    for number, example in enumerate(examples):
        (tests / f"test_{number}.py").write_text(example)
    command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto"]
    quickly = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, *quickly], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert f"\n{len(examples)} passed in " in done.stdout, done.stdout


def test_the_reference_is_what_the_descriptions_say():
    shown = (ROOT / "docs" / REFERENCE).read_text(encoding="utf-8")
    assert shown == f"# Settings\n\n```toml\n{reference(twinport.Settings)}```\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_leads_only_to_what_is_there(page: Path):
    text = page.read_text(encoding="utf-8")
    links = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert links == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_speaks_of_the_library_and_of_no_older_layout(page: Path):
    text = page.read_text(encoding="utf-8").partition("\n## 0.1.0")[0]  # which says what changed
    assert [word for word in OLD if word in text] == []
