"""Layers of settings: what a file, variables or arguments say; pydantic-settings merges them."""

import re
import tomllib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from ..errors import SettingsError
from .introspection import KeyPath, fields, holds, is_structured, type_at, walk, with_joined_keys


class Layer(PydanticBaseSettingsSource):
    """Some values of the settings, and where each was said."""

    def __init__(
        self, model: type[BaseSettings], values: dict[str, Any], problems: Sequence[str] = ()
    ) -> None:
        super().__init__(model)
        self.values: dict[str, Any] = with_joined_keys(values, model)
        self.strays: Sequence[KeyPath] = ()  # keys that cannot exist
        self.problems = problems  # what nobody could read, a line for each

    @abstractmethod
    def origin(self, path: KeyPath) -> str:
        """Return what an operator looks for to change the value at `path`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of one field of the root."""
        return self.values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self.values


class Facts(Layer):
    """What the process knows by itself, such as the name of its host."""

    def origin(self, path: KeyPath) -> str:
        """Return "default", as anything else overrides it."""
        return "default"


class TomlFile(Layer):
    """What a TOML file says; raises SettingsError with file, line and column."""

    def __init__(self, model: type[BaseSettings], path: Path) -> None:
        self.path, self._model = path, model
        self.text = text_of(path)
        super().__init__(model, self._tables())

    def origin(self, path: KeyPath) -> str:
        """Return "config/default.toml:12"; line numbers are looked for when first asked for."""
        return f"{self.path}:{self._lines.get(path, 1)}"

    def _tables(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.text)
        except RecursionError as error:
            raise SettingsError([f"{self.path}: nested too deeply"]) from error
        except ValueError as error:  # a number of 5000 digits is one, too
            raise SettingsError([f"{self.path}{self._placed(str(error))}"]) from error

    def _placed(self, problem: str) -> str:
        """Return tomllib's text with the line and the column in front, where editors find them."""
        what, _, place = problem.partition(" (at ")
        if what.startswith("Cannot overwrite"):  # as do `a = 1` and `a.b = 2`, which are two levels
            what += ': the key is there already; one with dots may need quotes, as in "a.b" = 2'
        lines = self.text.split("\n")
        line, column = re.findall(r"\d+", place) or (len(lines), len(lines[-1]) + 1)
        return f":{line}:{column}: {what}" if place else f": {what}"

    @cached_property
    def _lines(self) -> Mapping[KeyPath, int]:
        """Where each key is: at the end of the shortest prefix that parses and holds it.

        Where there are no arrays of tables, what stands in front of a table does not matter to it.
        """
        numbers: dict[KeyPath, int] = {}
        values: dict[str, Any] = {}
        lines, start = self.text.split("\n"), 0
        is_flat = "[[" not in self.text
        for number, line in enumerate(lines, 1):
            if is_flat and values and line.lstrip().startswith("["):
                start = number - 1
            values = parsed("\n".join(lines[start:number]))
            for path, _ in walk(with_joined_keys(values, self._model)):
                numbers.setdefault(path, number)
        return numbers


def text_of(path: Path) -> str:
    """Return the text of a file in UTF-8; raises SettingsError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror or error}"]) from error
    except ValueError as error:
        raise SettingsError([f"{path}: not text in UTF-8"]) from error


def parsed(text: str) -> dict[str, Any]:
    """Return the values of a text in TOML; none if it is no TOML."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}


class Assignment(NamedTuple):
    """A text that a variable, a file or an argument gives to a key."""

    origin: str
    path: tuple[str, ...]
    text: str


class Assignments(Layer):
    """Texts for keys; each is read by the type of its field, lists and tables as TOML."""

    def __init__(
        self,
        model: type[BaseSettings],
        assignments: Sequence[Assignment],
        problems: Sequence[str] = (),
    ) -> None:
        values: dict[str, Any] = {}
        ordered = sorted(
            assignments, key=lambda each: len(each.path)
        )  # a table, then what is in it
        strays = [each.path for each in ordered if not _is_put(values, each, model)]
        super().__init__(model, values, problems)
        self.strays = strays
        self._origins = {_prefix(each.path): each.origin for each in assignments}

    def origin(self, path: KeyPath) -> str:
        """Return the name of the variable, the file or the argument."""
        sought = _prefix(path)
        related = (
            each for each in self._origins if sought.startswith(each) or each.startswith(sought)
        )
        return self._origins[max(related, key=len)]


def _is_put(values: dict[str, Any], assignment: Assignment, model: type[BaseSettings]) -> bool:
    """Put what the text means among the values, and tell whether there is such a place."""
    *tables, last = path = assignment.path
    table: Any = values if path[0] in fields(model) else None
    for key in tables:
        table = table.setdefault(key, {}) if isinstance(table, dict) else None
    if isinstance(table, dict):
        table[last] = _meaning(assignment.text, type_at(model, path))
    return isinstance(table, dict)


def _meaning(text: str, annotation: Any) -> Any:
    """Read a list or a table; what is no TOML stays text, for pydantic to refuse by name."""
    table = parsed(f"value = {text}") if is_structured(annotation) else {}
    return table["value"] if table.keys() == {"value"} else text


def _prefix(path: KeyPath) -> str:
    """Return what all keys below begin with, however the dots in a key were meant."""
    return "".join(f"{part}." for part in path)


def layer_of(layers: Sequence[Layer], path: KeyPath) -> Layer | None:
    """Return the layer that had the last word about `path`; the lowest of `layers` is first."""
    holding = (layer for layer in reversed(layers) if holds(layer.values, path))
    return next((layer for layer in holding if not isinstance(layer, Facts)), None)
