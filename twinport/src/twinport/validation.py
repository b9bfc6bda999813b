"""What a dataclass says about its fields, checked; reported alike on every transport."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from itertools import chain, islice
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator, core_schema

from .calls.call import current
from .errors import MOST_VIOLATIONS, FieldViolation, InvalidArgumentError

T = TypeVar("T")
Step = str | int
Validator = TypeAdapter[Any] | SchemaValidator
MOST_OF_A_NAME = 200  # characters; the name of an unknown field is the caller's
LARGE_BYTES = 16 * 1024  # of a request: to collect all that may be wrong with it costs too much
SEQUENCES, CLASSES = ("list", "set", "frozenset", "tuple"), ("model", "dataclass")
EXTRA = "extra_fields_behavior"
ANY_TEXT, BOUNDS = {"type": "str"}, {"min_length", "max_length"}
NO_SCHEMAS = ("metadata", "default", "expected", "serialization")  # in a schema of pydantic_core


def checked(content: T, *path: Step) -> T:
    """Return the dataclass `content`; raises InvalidArgumentError that names every wrong field.

    `path` leads to `content` where it is one of many; its class sets `revalidate_instances`.
    """
    with _refusing(path):
        right: T = validator(_adapter(type(content))).validate_python(content)
    return right


def parsed(kind: type[T], document: bytes, *path: Step) -> T:
    """Read a `kind` from a JSON document; raises InvalidArgumentError as `checked` does."""
    with _refusing(path):
        right: T = _validator(_adapter(kind), len(document)).validate_json(document)
    return right


def written(content: object) -> bytes:
    """Return a dataclass as the JSON document that `parsed` reads."""
    return _adapter(type(content)).dump_json(content)


def validator(adapter: TypeAdapter[Any]) -> Validator:
    """Return what `adapter` validates with, by the size of the request that is being answered.

    Each mistake costs ten times what it costs to read a value, so in a large request only the first
    wrong items of a sequence or mapping are named, and the first unknown fields.
    """
    call = current.get()
    return adapter if call is None else _validator(adapter, call.received_bytes)


def first_mistakes(error: ValidationError) -> list[Mapping[str, Any]]:
    """Return the first of `error.errors()`, which makes objects of all, however many they are."""
    if error.error_count() <= MOST_VIOLATIONS:
        return [*error.errors(include_url=False)]
    document = error.json(include_url=False, include_context=False, include_input=False)
    return [mistake | {"input": None} for mistake in islice(_items(document), MOST_VIOLATIONS)]


def dotted(*path: Step) -> str:
    """Return the path of a field; the 3rd message of a stream is `2`."""
    return ".".join(map(str, path))[:MOST_OF_A_NAME]


@contextmanager
def _refusing(path: tuple[Step, ...]) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        wrong = [
            FieldViolation(dotted(*path, *mistake["loc"]), mistake["msg"])
            for mistake in first_mistakes(error)
        ]
        # the cause would hold the input; texts hold names and rules
        raise InvalidArgumentError("the request is not valid", fields=wrong) from None


def _items(document: str) -> Iterator[dict[str, Any]]:
    """Yield what is in a JSON list, read one by one."""
    decoder, position = json.JSONDecoder(), 1
    while position < len(document):
        item, end = decoder.raw_decode(document, position)
        yield item
        position = end + 1


def _adapter(kind: Any) -> TypeAdapter[Any]:
    return _compiled(kind)


@cache
def _compiled(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _validator(adapter: TypeAdapter[Any], size: int) -> Validator:
    return adapter if size <= LARGE_BYTES else _hasty(adapter)


@cache
def _hasty(adapter: TypeAdapter[Any]) -> SchemaValidator:
    """Return what accepts the same as `adapter`, and soon gives up what is wrong.

    A class that has a validator already would be validated by that, with all its mistakes.
    """
    return SchemaValidator(_stopping(adapter.core_schema), _use_prebuilt=False)


def _stopping(part: Any, *, in_union: bool = False) -> Any:
    """Return a part of a schema that stops soon at what is wrong.

    Mappings in a union do not: it names its mistakes by the validator that has found them.
    """
    if isinstance(part, list | tuple):
        return type(part)(_stopping(each, in_union=in_union) for each in part)
    if not isinstance(part, dict):
        return part
    in_union |= part.get("type") == "union"
    stopping = {
        name: value if name in NO_SCHEMAS else _stopping(value, in_union=in_union)
        for name, value in part.items()
    }
    if part.get("type") == "dict" and not in_union and BOUNDS.isdisjoint(part):
        by_parts = _by_short_names if part.get("keys_schema") == ANY_TEXT else _by_parts
        return core_schema.no_info_wrap_validator_function(by_parts, stopping)
    return stopping | _additions(part, stopping)


def _additions(part: dict[str, Any], stopping: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") in SEQUENCES:
        return {"fail_fast": True}
    if part.get("type") in CLASSES and part.get("config", {}).get(EXTRA) == "forbid":
        reduced = partial(_reduced, _names(part["schema"]))
        inner = core_schema.no_info_before_validator_function(reduced, stopping["schema"])
        return {"schema": inner}
    return {}


def _names(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return what the fields of a class are called, which may have validators around them."""
    while "fields" not in schema:
        schema = schema["schema"]
    fields = schema["fields"]
    if isinstance(fields, list):
        fields = {field["name"]: field for field in fields}
    return frozenset(chain(fields, *map(_aliases, fields.values())))


def _aliases(field: Mapping[str, Any]) -> Iterable[str]:
    """Return the names that begin the paths to a field: of one name, a path, or several paths."""
    alias = field.get("validation_alias", ())
    if isinstance(alias, str):
        return [alias]
    paths = alias if alias and isinstance(alias[0], list) else [alias]
    return [path[0] for path in paths if path]


def _reduced(names: frozenset[str], content: Any) -> Any:
    """Leave out most of what no field is called."""
    if not isinstance(content, dict) or len(content) <= len(names) + MOST_VIOLATIONS:
        return content
    unknown = islice((name for name in content if name not in names), MOST_VIOLATIONS)
    known = [name for name in names if name in content]
    return {name: content[name] for name in (*known, *unknown)}


def _by_parts(content: Any, validate: Callable[[Any], Any]) -> Any:
    """Validate a mapping some items at a time: pydantic has no word to stop at the first."""
    if not isinstance(content, dict):
        return validate(content)
    items, whole = iter(content.items()), validate({})
    while part := dict(islice(items, MOST_VIOLATIONS)):
        whole |= validate(part)
    return whole


def _by_short_names(content: Any, validate: Callable[[Any], Any]) -> Any:
    """Validate first what has a long name, by a short one: each mistake in it holds the name."""
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(name, str) and len(name) > MOST_OF_A_NAME:
            validate({name[:MOST_OF_A_NAME]: value})
    return _by_parts(content, validate)
