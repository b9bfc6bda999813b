"""Turns layers of values into settings that hold, or into every mistake at once."""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import (
    BaseModel,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)

from ..errors import FatalError, SettingsError
from .layers import Layer, said_by
from .mistakes import unknown_keys, unusable_texts, wrong_values
from .shapes import KeyPath, alternatives, dotted, fields, is_one_of, leaves
from .sources import Sources, layers
from .types import SettingsRoot


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


Root = TypeVar("Root", bound=SettingsRoot)


@dataclass(frozen=True)
class Loaded(Generic[Root]):
    """Settings in force, and what it takes to say where each value came from."""

    settings: Root
    layers: Sequence[Layer]

    @cached_property
    def tables(self) -> Mapping[str, Any]:
        """All values as JSON writes them, plain texts that are secrets included."""
        try:
            return self.settings.model_dump(mode="json", by_alias=True, fallback=_name_of_type)
        except Exception as error:  # of a type from elsewhere, which may raise anything
            raise FatalError(f"the settings cannot be shown: {type(error).__name__}") from error

    @cached_property
    def origins(self) -> Mapping[str, str]:
        """Where each value came from, by dotted key: "config/default.toml:12", "default"."""
        return {dotted(path): self._origin(path) for path, _ in leaves(self.tables)}

    def _origin(self, path: KeyPath) -> str:
        layer = said_by(self.layers, path)
        return layer.origin(path) if layer else "default"


def load(model: type[Root], sources: Sources) -> Loaded[Root]:
    """Read, merge and check all layers; raises SettingsError with every mistake."""
    complete(model)
    found = layers(model, sources)
    problems = [problem for layer in found for problem in layer.problems]
    problems += [*unknown_keys(model, found), *unusable_texts(found)]
    merge: Callable[..., Root] = model
    try:
        settings = merge(_build_sources=(tuple(reversed(found)), {}))
    except ValidationError as error:
        problems += wrong_values(model, found, error)
    except Exception as error:  # of a rule in a model from elsewhere, which may raise anything
        raise SettingsError([*problems, _broken_rule(error)]) from error
    if problems:
        raise SettingsError(list(dict.fromkeys(problems)))
    settings._read_again = lambda: load(model, sources).settings
    return Loaded(settings, found)


def _broken_rule(error: Exception) -> str:
    """Return where a rule failed; what it says may hold a secret."""
    *_, rule = traceback.extract_tb(error.__traceback__)
    return f"{rule.filename}:{rule.lineno}: {rule.name} raised {type(error).__name__}"


def _name_of_type(value: object) -> str:
    return f"<{type(value).__name__}>"


def changed(old: SettingsRoot, new: SettingsRoot) -> list[str]:
    """Return the dotted keys whose values differ."""
    before, after = (dict(leaves(settings.model_dump())) for settings in (old, new))
    paths = dict.fromkeys([*before, *after])
    differing = [path for path in paths if before.get(path) != after.get(path)]
    return [dotted(path) for path in differing if before.get(path) != {} != after.get(path)]
