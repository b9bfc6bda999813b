"""Types that nobody can fill are found before the first value is read."""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import (
    BaseModel,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
)

from ..errors import SettingsError
from .paths import KeyPath, dotted
from .shapes import alternatives, fields, is_one_of


def complete(model: type[BaseModel]) -> None:
    """Build what checks `model`; raises SettingsError with each field whose type is of no use."""
    try:
        model.model_rebuild()
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        problems = [f"{dotted(path)}: {problem}" for path, problem in _useless(model, ())]
        raise SettingsError(problems or [_reason(model, error)]) from error


def _useless(kind: Any, path: KeyPath, above: Sequence[Any] = ()) -> Iterator[tuple[KeyPath, str]]:
    for name, inner in fields(kind).items():
        if is_one_of(inner, above):
            continue
        try:
            TypeAdapter(inner).rebuild(force=True)
        except (PydanticUserError, PydanticUndefinedAnnotation) as error:
            deeper = list(_useless(inner, (*path, name), [*above, *alternatives(inner)]))
            yield from deeper or [((*path, name), _reason(inner, error))]


def _reason(kind: Any, error: PydanticUserError | PydanticUndefinedAnnotation) -> str:
    if isinstance(error, PydanticSchemaGenerationError):
        name = kind.__qualname__ if isinstance(kind, type) else str(kind)
        return f"pydantic cannot fill {name}; use a pydantic model, a dataclass or a TypedDict"
    return str(error).splitlines()[0]
