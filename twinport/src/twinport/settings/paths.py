"""Paths of keys into nested tables and lists, and how TOML writes them."""

import json
from collections.abc import Iterator
from typing import Any

KeyPath = tuple[str | int, ...]  # ("logs", "levels", "order_book.orders"), ("orders", "tags", 0)


def members(value: Any) -> Iterator[tuple[str | int, Any]]:
    """Yield what is in a table or a list, with its key or index."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def held(value: Any, path: KeyPath) -> bool:
    """Tell whether nested tables and lists hold something at `path`."""
    for part in path:
        inner = dict(members(value))
        if part not in inner:
            return False
        value = inner[part]
    return True


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of every table, list, item and value, outermost first."""
    yield from (inner for inner, _ in values(value, path))


def values(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every table, list, item and value with its path, outermost first."""
    for part, below in members(value):
        yield (*path, part), below
        yield from values(below, (*path, part))


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield each value that is no table, and each empty table, with its path."""
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for key, inner in value.items():
        yield from leaves(inner, (*path, str(key)))


def dotted(path: KeyPath) -> str:
    """Return `path` as TOML writes it."""
    return ".".join(_part(part) for part in path)


def _part(part: str | int) -> str:
    text = str(part)
    bare = text.isascii() and text.replace("-", "").replace("_", "").isalnum()
    return text if bare else quoted(text)


def quoted(text: str) -> str:
    """Return `text` as TOML writes it, on one line."""
    written = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08X}" for char in written)
