"""Show the settings in force: each value, where it came from, and no secret."""

import json
from typing import Any

from .load import Loaded, Root
from .masks import masked
from .paths import dotted, leaves, quoted


def values(loaded: Loaded[Root]) -> dict[str, Any]:
    """Return each value by its dotted key, as JSON writes it, without secrets."""
    settings = loaded.settings
    visible = masked(loaded.tables, type(settings), settings.redactor())
    return {dotted(path): value for path, value in leaves(visible)}


def as_text(loaded: Loaded[Root]) -> str:
    """Return a line of TOML for each value, and its origin as a comment."""
    lines = {key: f"{key} = {toml(value)}" for key, value in values(loaded).items()}
    width = min(max(map(len, lines.values())), 60)
    return "".join(f"{line:{width}}  # {loaded.origins[key]}\n" for key, line in lines.items())


def as_json(loaded: Loaded[Root]) -> str:
    """Return an object with the value and the origin of each key."""
    shown = {
        key: {"value": value, "origin": loaded.origins[key]}
        for key, value in values(loaded).items()
    }
    return json.dumps(shown, indent=2) + "\n"


def toml(value: Any) -> str:
    """Return a value of JSON as TOML writes it; TOML has no null, "none" stands for it."""
    if isinstance(value, dict):
        inner = ", ".join(f"{dotted((key,))} = {toml(each)}" for key, each in value.items())
        return f"{{{inner and f' {inner} '}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):  # asked first: a dict would take 1 for true
        return str(value).lower()
    return "none" if value is None else str(value)
