"""Tables as docs/cost.md shows them, and how they get into it."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from running import BenchError


class Part(NamedTuple):
    """A part of the page: it stands between the marks of its `name`."""

    name: str
    text: str


def table(name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Part:
    """Return a table as a part of the page."""
    lines = [head, ["---"] * len(head), *rows]
    return Part(name, "\n".join(f"| {' | '.join(line)} |" for line in lines))


def put(page: Path, part: Part) -> None:
    """Write a part in place of what stands between its marks; raises BenchError."""
    begin, end = f"<!-- bench: {part.name} -->", "<!-- /bench -->"
    between = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    text, found = between.subn(
        lambda marks: f"{marks[1]}{part.text}\n{marks[2]}", page.read_text(encoding="utf-8")
    )
    if not found:
        raise BenchError(f"{page} has no mark {begin}")
    page.write_text(text, encoding="utf-8")
