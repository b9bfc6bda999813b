"""Services, the demo and all pages import of the library only what it promises."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICE = ROOT / "{{cookiecutter.service_name}}"
PROMISED = (ROOT / "twinport/tests/promised.txt").read_text(encoding="utf-8")
NAMES = set(re.findall(r"^(twinport[\w.]+)", PROMISED, re.MULTILINE))
FIRST = "twinport.startup"  # what a service's package imports before all else
MODULES = {name.rpartition(".")[0] for name in NAMES} | {FIRST}
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *SERVICE.rglob("*.md"),
    *ROOT.glob("twinport/*.md"),
    *ROOT.glob("twinport/docs/*.md"),
]
CODE = [path for folder in (SERVICE, ROOT / "demo") for path in folder.rglob("*.py")]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
JINJA = re.compile(r"{{ *cookiecutter[^}]*}}")
CONDITION = re.compile(r"^{%-? .* %}\n", re.MULTILINE)  # what is between stays


def named(text: str) -> Iterator[str]:
    """Yield each name of the library that a text in Python uses, such as `twinport.span`."""
    for node in ast.walk(ast.parse(JINJA.sub("order_book", CONDITION.sub("", text)))):
        match node:
            case ast.ImportFrom(level=0, module=str(module), names=names) if is_ours(module):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Import(names=names):
                yield from (alias.name for alias in names if is_ours(alias.name))
            case ast.Attribute(value=ast.Name(id="twinport"), attr=name):
                yield f"twinport.{name}"


def is_ours(module: str) -> bool:
    return module.partition(".")[0] == "twinport"


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_code_uses_only_public_names(path: Path):
    assert set(named(path.read_text(encoding="utf-8"))) - NAMES - MODULES == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_shows_only_public_names(path: Path):
    blocks = BLOCK.findall(path.read_text(encoding="utf-8"))
    assert {name for block in blocks for name in named(block)} - NAMES - MODULES == set()
