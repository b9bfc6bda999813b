"""What a dataclass says about its fields, checked; reported alike on every transport."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from .errors import FieldViolation, InvalidArgumentError

T = TypeVar("T")
Step = str | int
MOST_VIOLATIONS = 50
MOST_OF_A_NAME = 200  # characters; the name of an unknown field is the caller's


def checked(content: T, *path: Step) -> T:
    """Return the dataclass `content`; raises InvalidArgumentError that names every wrong field.

    `path` leads to `content` where it is one of many; its class sets `revalidate_instances`.
    """
    with _refusing(path):
        right: T = _adapter(type(content)).validate_python(content)
    return right


def parsed(kind: type[T], document: bytes, *path: Step) -> T:
    """Read a `kind` from a JSON document; raises InvalidArgumentError as `checked` does."""
    with _refusing(path):
        right: T = _adapter(kind).validate_json(document)
    return right


def written(content: object) -> bytes:
    """Return a dataclass as the JSON document that `parsed` reads."""
    return _adapter(type(content)).dump_json(content)


def invalid(mistakes: Iterable[Mapping[str, Any]], *path: Step) -> InvalidArgumentError:
    """Return pydantic's `errors()` as an error of ours; texts hold names and rules, no input."""
    fields = [
        FieldViolation(dotted(*path, *mistake["loc"]), mistake["msg"])
        for mistake, _ in zip(mistakes, range(MOST_VIOLATIONS), strict=False)
    ]
    return InvalidArgumentError("the request is not valid", fields=fields)


def dotted(*path: Step) -> str:
    """Return the path of a field; the 3rd message of a stream is `2`."""
    return ".".join(map(str, path))[:MOST_OF_A_NAME]


@contextmanager
def _refusing(path: tuple[Step, ...]) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)
        raise invalid(mistakes, *path) from None  # the cause holds the input


def _adapter(kind: Any) -> TypeAdapter[Any]:
    return _compiled(kind)


@cache
def _compiled(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
