"""Every mistake as one line: where it was said, which key, what is wrong, what would be right."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from . import masks, shapes
from .layers import Layer, TomlFile, said_by
from .paths import KeyPath, dotted, members
from .quantities import WrittenDuration

SHORTEST_SECRET = 4  # below that, masking would tear holes into our own words

_WORDS = {  # pydantic speaks to programmers, and repeats a wrong tag
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type"), "must be a list"),
    **dict.fromkeys(("model_type", "dict_type", "dataclass_type"), "must be a table"),
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "{discriminator} is missing: it decides what else may stand here",
    "string_type": "must be text, in quotes",
}


def mistake(key: str, problem: str) -> PydanticCustomError:
    """Return an error for a model's validator to raise: it names `key`, dotted, seen from there."""
    return PydanticCustomError("setting", "{problem}", {"key": key, "problem": problem})


def unknown_keys(model: type[BaseModel], layers: Sequence[Layer]) -> Iterator[str]:
    """Yield a line for each key that no field asks for, in every layer."""
    for layer in layers:
        for path in [*_unknown(layer.values, model, ()), *layer.strays]:
            yield f"{layer.origin(path)}: {dotted(path)}: {_unknown_text(model, path)}"


def wrong_values(
    model: type[BaseModel], layers: Sequence[Layer], error: ValidationError
) -> Iterator[str]:
    """Yield a line for each thing that pydantic found, without what was there instead."""
    hidden = {text for layer in layers for text in masks.secrets(layer.values, model)}
    for details in error.errors(include_url=False, include_input=False):
        path = key_path(model, details)
        unknown = details["type"] in {"extra_forbidden", "unexpected_keyword_argument"}
        text = _unknown_text(model, path) if unknown else _text(model, path, details)
        yield f"{origin(layers, path)}: {dotted(path)}: {_scrubbed(text, hidden)}"


def origin(layers: Sequence[Layer], path: KeyPath) -> str:
    """Return where `path` was said last, or the closest table around it, or where to say it."""
    for end in range(len(path), 0, -1):
        if layer := said_by(layers, path[:end]):
            return layer.origin(path[:end])
    return next(str(layer.path) for layer in layers if isinstance(layer, TomlFile))


def key_path(model: type[BaseModel], details: ErrorDetails) -> KeyPath:
    """Return the keys of pydantic's location, without the names it gives to members of a union."""
    kind: Any = model
    path: KeyPath = ()
    in_union = False
    for part in details["loc"]:
        in_union = not in_union and len(shapes.alternatives(kind)) > 1
        if part == "[key]":
            break
        if not in_union:
            path, kind = (*path, part), shapes.inside(kind, part)
    key = details.get("ctx", {}).get("key", "") if details["type"] == "setting" else ""
    return (*path, *key.split(".")) if key else path


def _unknown(value: Any, kind: Any, path: KeyPath) -> Iterator[KeyPath]:
    for part, below in members(value):
        known = shapes.inside(kind, part)
        if known is not None:
            yield from _unknown(below, known, (*path, part))
        elif not shapes.open_to_any_key(kind):
            yield (*path, part)


def _unknown_text(model: type[BaseModel], path: KeyPath) -> str:
    return f"unknown key{_suggestion(model, path)}"


def _suggestion(model: type[BaseModel], path: KeyPath) -> str:
    *parent, last = path
    siblings = list(shapes.fields(shapes.at(model, tuple(parent))))
    close = [(*parent, name) for name in get_close_matches(str(last).lower(), siblings, 1)]
    close = close or [known for known in _known(model, ()) if known[-1] == last][:3]
    if close:
        return f"; did you mean {' or '.join(dotted(path) for path in close)}?"
    return f"; known here: {', '.join(siblings)}" if siblings else ""


def _known(kind: Any, path: KeyPath) -> Iterator[KeyPath]:
    for name, inner in shapes.fields(kind).items():
        yield (*path, name)
        yield from _known(inner, (*path, name))


def _text(model: type[BaseModel], path: KeyPath, details: ErrorDetails) -> str:
    if details["type"] == "missing":
        return f"missing{_suggested_value(model, path)}"
    context: Mapping[str, Any] = details.get("ctx", {})
    text = _WORDS.get(details["type"], "").format(**context)
    raised = context.get("error")
    text = text or str(raised if isinstance(raised, Exception) else details["msg"])
    text = re.sub(r"datetime\.timedelta\((.*?)\)", _written, text)
    text = text.partition(", unable to")[0].replace("Input should be", "must be")
    return " ".join(text.split())


def _suggested_value(model: type[BaseModel], path: KeyPath) -> str:
    for each in shapes.alternatives(shapes.at(model, path[:-1])):
        field = getattr(each, "model_fields", {}).get(path[-1])
        if field is not None and field.description:
            return f": {field.description}"
    return ""


def _written(found: re.Match[str]) -> str:
    units = {unit: int(number) for unit, number in re.findall(r"(\w+)=(-?\d+)", found[1])}
    return f'"{WrittenDuration.write(timedelta(**units))}"'


def _scrubbed(text: str, hidden: set[str]) -> str:
    for secret in sorted(hidden, key=len, reverse=True):
        text = text.replace(secret, masks.MASK) if len(secret) >= SHORTEST_SECRET else text
    return masks.without_url_secrets(text)
