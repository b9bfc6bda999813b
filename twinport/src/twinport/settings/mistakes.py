"""Every mistake in settings as one line: where, which key, what is wrong, what would be right."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from ..redact import MASK, usual
from . import introspection
from .introspection import KeyPath, dotted, fields, items, type_at, type_in, walk
from .layers import Layer, TomlFile, layer_of
from .types import WrittenDuration

SHORTEST_SECRET = 4  # below that, masking would tear holes into our own words

_LIST = 'must be a list, as in ["a", "b"]'
_TABLE = 'must be a table; within a line as in {{ key = "value" }}'
_TEXT = "must be text, in quotes"
_WORDS = {  # pydantic speaks to programmers, and repeats a wrong tag
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type"), _LIST),
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type", "dataclass_type"), _TABLE),
    **dict.fromkeys(("string_type", "bytes_type", "path_type", "url_type"), _TEXT),
    **dict.fromkeys(("too_short", "string_too_short"), "must not be shorter than {min_length}"),
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "{discriminator} is missing: it decides what else may stand here",
    "string_pattern_mismatch": "must match {pattern}",
}


def mistake(key: str, problem: str) -> PydanticCustomError:
    """Return an error for a model's validator to raise: it names `key`, dotted, seen from there."""
    return PydanticCustomError("setting", "{problem}", {"key": key, "problem": problem})


def unknown_keys(model: type[BaseModel], layers: Sequence[Layer]) -> Iterator[str]:
    """Yield a line for each key that no field asks for, in every layer."""
    for layer in layers:
        for path in [*_unknown(layer.values, model, ()), *layer.strays]:
            yield f"{layer.origin(path)}: {dotted(path)}: {_suggestion(model, path)}"


def _unknown(value: Any, annotation: Any, path: KeyPath) -> Iterator[KeyPath]:
    for part, inner in items(value):
        if isinstance(part, int) and fields(annotation):
            return  # a list in place of a table is wrong as a whole
        known = type_in(annotation, part)
        if known is not None:
            yield from _unknown(inner, known, (*path, part))
        elif not introspection.takes_any_key(annotation):
            yield (*path, part)


def _suggestion(model: type[BaseModel], path: KeyPath) -> str:
    """Return what to say of a key that no field asks for: what was meant, or what there is."""
    *parent, last = path
    siblings = list(fields(type_at(model, tuple(parent))))
    known = {dotted(each): each for each in introspection.all_keys(model)}
    close = (
        [key for key, each in known.items() if _letters(each) == _letters(path)]
        or [dotted((*parent, name)) for name in get_close_matches(str(last).lower(), siblings, 1)]
        or get_close_matches(dotted(path).lower(), [] if siblings else known, 1, 0.75)
        or [key for key, each in known.items() if each[-1] == last][:3]
    )
    if close:
        return f"unknown key; did you mean {' or '.join(close)}?"
    return f"unknown key; known here: {', '.join(siblings)}" if siblings else "unknown key"


def _letters(path: KeyPath) -> str:
    """Return what a path and its many misspellings have in common: GRPC_PORT, grpc.port."""
    return re.sub("[^a-z0-9]", "", dotted(path).lower())


def unusable_texts(layers: Sequence[Layer]) -> Iterator[str]:
    """Yield a line for each text that nobody could write into a log, or open as a file."""
    walks = ((layer, *inner) for layer in layers for inner in walk(layer.values))
    for layer, path, value in walks:
        if isinstance(value, str) and re.search(r"[\0\ud800-\udfff]", value):
            yield f"{layer.origin(path)}: {dotted(path)}: must be text in UTF-8, without NUL"


def wrong_values(
    model: type[BaseModel], layers: Sequence[Layer], error: ValidationError
) -> Iterator[str]:
    """Yield a line for each thing that pydantic found, without what was there instead."""
    secrets = {
        text for each in layers for text in introspection.secrets(each.values, model, usual())
    }
    is_all_read = not any(layer.problems for layer in layers)
    texts: dict[KeyPath, list[str]] = {}  # several of one path: each type that it may be of says no
    for details in error.errors(include_url=False):
        # A table may lack what stands in a layer that nobody could read.
        if is_all_read or not isinstance(details["input"], dict | BaseModel):
            path = _path(model, details)
            texts.setdefault(path, []).append(_masked(_text(model, path, details), secrets))
    for path, lines in texts.items():
        yield f"{_origin(layers, path)}: {dotted(path)}: {', or '.join(dict.fromkeys(lines))}"


def _origin(layers: Sequence[Layer], path: KeyPath) -> str:
    """Return where `path` was said last, or the closest table around it, or where to say it."""
    for end in range(len(path), 0, -1):
        if layer := layer_of(layers, path[:end]):
            return layer.origin(path[:end])
    return next((str(layer.path) for layer in layers if isinstance(layer, TomlFile)), "settings")


def _path(model: type[BaseModel], details: ErrorDetails) -> KeyPath:
    """Return the keys of pydantic's location, without the names it gives to members of a union."""
    annotation: Any = model
    path: KeyPath = ()
    in_union = False
    for part in details["loc"]:
        in_union = not in_union and len(introspection.alternatives(annotation)) > 1
        if part == "[key]":
            break
        if not in_union:
            path, annotation = (*path, part), type_in(annotation, part)
    key = details.get("ctx", {}).get("key", "") if details["type"] == "setting" else ""
    return (*path, *key.split(".")) if key else path


def _text(model: type[BaseModel], path: KeyPath, details: ErrorDetails) -> str:
    kind = details["type"]
    if kind in {"extra_forbidden", "unexpected_keyword_argument"}:
        return _suggestion(model, path)
    if kind == "missing":
        return f"missing{_description(model, path)}"
    context: Mapping[str, Any] = details.get("ctx", {})
    text = _WORDS.get(kind, "").format(**context)
    if kind == "string_pattern_mismatch":
        return f"{text}{_description(model, path)}"
    raised = context.get("error")
    text = text or str(raised if isinstance(raised, Exception) else details["msg"])
    text = re.sub(r"datetime\.timedelta\((.*?)\)", _written, text)
    text = text.partition(", unable to")[0].replace("Input should be", "must be")
    return " ".join(text.split())


def _description(model: type[BaseModel], path: KeyPath) -> str:
    if isinstance(path[-1], int):  # an item means what its list means
        return _description(model, path[:-1])
    for each in filter(
        introspection.is_model, introspection.alternatives(type_at(model, path[:-1]))
    ):
        field = each.model_fields.get(path[-1])
        text = field and (field.description or introspection.descriptions(each).get(path[-1]))
        if text:
            return f": {text}"
    return ""


def _written(timedelta_repr: re.Match[str]) -> str:
    units = {unit: int(number) for unit, number in re.findall(r"(\w+)=(-?\d+)", timedelta_repr[1])}
    return f'"{WrittenDuration.write(timedelta(**units))}"'


def _masked(text: str, secrets: set[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK) if len(secret) >= SHORTEST_SECRET else text
    return usual().text(text)
