"""Turn layers into settings that hold, or into every mistake at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter, ValidationError

from ..errors import SettingsError
from . import shapes
from .kinds import SettingsRoot
from .layers import Layer, said_by
from .mistakes import unknown_keys, wrong_values
from .shapes import KeyPath, dotted
from .sources import Sources, layers

Root = TypeVar("Root", bound=SettingsRoot)


@dataclass(frozen=True)
class Loaded(Generic[Root]):
    """Settings in force, and what it takes to say where each value came from."""

    settings: Root
    layers: Sequence[Layer]

    @cached_property
    def origins(self) -> Mapping[str, str]:
        """Where each value came from, by dotted key: "config/default.toml:12", "default"."""
        values = self.settings.model_dump(mode="json", by_alias=True, fallback=str)
        return {dotted(path): self._origin(path) for path, _ in shapes.leaves(values)}

    def _origin(self, path: KeyPath) -> str:
        layer = said_by(self.layers, path)
        return layer.origin(path) if layer else "default"


def load(model: type[Root], sources: Sources) -> Loaded[Root]:
    """Read, merge and check all layers; raises SettingsError with every mistake."""
    _complete(model)
    found = layers(model, sources)
    problems = list(unknown_keys(model, found))
    merge: Callable[..., Root] = model
    try:
        settings = merge(_build_sources=(tuple(reversed(found)), {}))
    except ValidationError as error:
        problems += wrong_values(model, found, error)
    if problems:
        raise SettingsError(list(dict.fromkeys(problems)))
    settings._read_again = lambda: load(model, sources).settings
    return Loaded(settings, found)


def changed(old: SettingsRoot, new: SettingsRoot) -> list[str]:
    """Return the dotted keys whose values differ."""
    before, after = (dict(shapes.leaves(settings.model_dump())) for settings in (old, new))
    paths = dict.fromkeys([*before, *after])
    return [dotted(path) for path in paths if before.get(path) != after.get(path)]


def _complete(model: type[SettingsRoot]) -> None:
    try:
        model.model_rebuild()
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        problems = [f"{dotted(path)}: {problem}" for path, problem in _untyped(model, ())]
        raise SettingsError(problems or [str(error).splitlines()[0]]) from error


def _untyped(kind: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    for name, inner in shapes.fields(kind).items():
        try:
            TypeAdapter(inner)
        except (PydanticUserError, PydanticUndefinedAnnotation):
            deeper = list(_untyped(inner, (*path, name)))
            known = "use a pydantic model, a dataclass or a TypedDict"
            yield from deeper or [((*path, name), f"pydantic cannot check {inner!r}; {known}")]
