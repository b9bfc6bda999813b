"""Pages lead to what is there, also from a service, where the library lies in vendor/."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICE = ROOT / "{{cookiecutter.service_name}}"
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *SERVICE.glob("*.md"),
    *SERVICE.glob("stores/*/docs/*.md"),
]
STORE = SERVICE / "stores/memory"
LINK = re.compile(r"\]\(([^)#:]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_leads_only_to_what_is_there(page: Path):
    text = page.read_text(encoding="utf-8").replace("(docs/store.md", f"({STORE}/docs/store.md")
    text = re.sub(r"\((?:\.\./)?vendor/twinport/", f"({ROOT}/twinport/", text)
    assert [link for link in LINK.findall(text) if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_speaks_of_no_older_layout(page: Path):
    text = page.read_text(encoding="utf-8")
    assert [word for word in ("runtime/", "runtime.", "Tandem") if word in text] == []
