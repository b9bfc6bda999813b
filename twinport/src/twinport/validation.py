"""Validates dataclasses by their types; mistakes are reported alike on every transport.

Each mistake costs ten times what it costs to read a value, and pydantic collects all. So a large
request is validated by a schema that stops early: of a sequence or mapping only the first wrong
item is named, of unknown fields the first ones.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from itertools import islice
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator, core_schema

from .calls import current
from .errors import MOST_VIOLATIONS, FieldViolation, InvalidArgumentError

T = TypeVar("T")
Step = str | int
Validator = TypeAdapter[Any] | SchemaValidator
MOST_OF_A_NAME = 200  # characters; the name of an unknown field is the caller's
LARGE_BYTES = 16 * 1024  # of a request

_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def checked(content: T, *path: Step) -> T:
    """Return the dataclass `content`; raises InvalidArgumentError that names every wrong field.

    `path` leads to `content` where it is one of many; its class sets `revalidate_instances`.
    """
    try:
        right: T = validator(_adapter(type(content))).validate_python(content)
    except ValidationError as error:
        raise _refusal(error, path) from None  # as a cause it would keep what the caller sent
    return right


def parsed(kind: type[T], document: bytes, *path: Step) -> T:
    """Read a `kind` from a JSON document; raises InvalidArgumentError as `checked` does."""
    try:
        right: T = _validator(_adapter(kind), len(document)).validate_json(document)
    except ValidationError as error:
        raise _refusal(error, path) from None
    return right


def written(content: object) -> bytes:
    """Return a dataclass as the JSON document that `parsed` reads."""
    return _adapter(type(content)).dump_json(content)


def dotted(*path: Step) -> str:
    """Return the path of a field; the 3rd message of a stream is `2`."""
    return ".".join(map(str, path))[:MOST_OF_A_NAME]


def validator(adapter: TypeAdapter[Any]) -> Validator:
    """Return what `adapter` validates with, by the size of the request that is being answered."""
    call = current.get()
    return adapter if call is None else _validator(adapter, call.received_bytes)


def first_mistakes(error: ValidationError) -> list[Mapping[str, Any]]:
    """Return the first of `error.errors()`, which makes objects of all, however many they are."""
    if error.error_count() <= MOST_VIOLATIONS:
        return [*error.errors(include_url=False)]
    document = error.json(include_url=False, include_context=False, include_input=False)
    decoder, start = json.JSONDecoder(), 1
    mistakes: list[Mapping[str, Any]] = []
    while len(mistakes) < MOST_VIOLATIONS:
        mistake, end = decoder.raw_decode(document, start)
        mistakes.append(mistake | {"input": None})
        start = end + 1
    return mistakes


def _refusal(error: ValidationError, path: tuple[Step, ...]) -> InvalidArgumentError:
    mistakes = first_mistakes(error)
    violations = [FieldViolation(dotted(*path, *each["loc"]), each["msg"]) for each in mistakes]
    return InvalidArgumentError("the request is not valid", fields=violations)


def _validator(adapter: TypeAdapter[Any], size: int) -> Validator:
    return adapter if size <= LARGE_BYTES else _stopping_validator(adapter)


@cache
def _stopping_validator(adapter: TypeAdapter[Any]) -> SchemaValidator:
    # A class that has a validator already would be validated by that, with all its mistakes.
    return SchemaValidator(_stopping(adapter.core_schema), _use_prebuilt=False)


SEQUENCES = ("list", "deque", "tuple", "set", "frozenset")
MAPPINGS = ("dict", "frozendict", "ordered-dict", "counter")
CLASSES = ("model", "dataclass")
NO_SCHEMAS = ("metadata", "default", "expected", "serialization")  # in a schema of pydantic_core


def _stopping(part: Any, in_union: bool = False) -> Any:
    """Return a part of a schema that accepts the same, and stops soon at what is wrong."""
    if isinstance(part, list | tuple):
        return type(part)(_stopping(each, in_union) for each in part)
    if not isinstance(part, dict):
        return part
    in_union |= part.get("type") == "union"
    inner = {
        name: each if name in NO_SCHEMAS else _stopping(each, in_union)
        for name, each in part.items()
    }
    return _with_a_stop(inner, in_union)


def _with_a_stop(part: dict[str, Any], in_union: bool) -> Any:
    kind = part.get("type")
    if kind in CLASSES and part.get("config", {}).get("extra_fields_behavior") == "forbid":
        reduced = partial(_reduced, frozenset(_names(part["schema"])))
        fields = core_schema.no_info_before_validator_function(reduced, part["schema"])
        return part | {"schema": fields}
    if kind in SEQUENCES:
        return part | {"fail_fast": True}
    if kind in MAPPINGS and {"min_length", "max_length"}.isdisjoint(part):
        # A union names its mistakes by the validator that has found them: it takes no other.
        takes_any_text = part.get("keys_schema") == {"type": "str"} and not in_union
        stopping: Any = part | {"fail_fast": True}
        wrapped = core_schema.no_info_wrap_validator_function(_by_short_names, stopping)
        return wrapped if takes_any_text else stopping
    return part


def _by_short_names(content: Any, validate: Callable[[Any], Any]) -> Any:
    """Validate first what has a long name, by a short one: each mistake in it holds the name."""
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(name, str) and len(name) > MOST_OF_A_NAME:
            validate({name[:MOST_OF_A_NAME]: value})
    return validate(content)


def _names(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield what may name a field of a class, whose schema may have validators around it."""
    while "fields" not in schema:
        schema = schema["schema"]
    fields = schema["fields"]
    if isinstance(fields, dict):  # of a model; a dataclass has a list
        yield from fields
        fields = [*fields.values()]
    for field in fields:
        yield from _texts([field.get("name"), field.get("validation_alias")])


def _texts(alias: Any) -> Iterator[str]:
    """Yield the texts of one name, a path of them, or several paths."""
    if isinstance(alias, str):
        yield alias
    for each in alias if isinstance(alias, list) else ():
        yield from _texts(each)


def _reduced(names: frozenset[str], content: Any) -> Any:
    """Leave out most of what no field is called."""
    if not isinstance(content, dict) or len(content) <= len(names) + MOST_VIOLATIONS:
        return content
    unknown = islice((name for name in content if name not in names), MOST_VIOLATIONS)
    known = [name for name in names if name in content]
    return {name: content[name] for name in (*known, *unknown)}
