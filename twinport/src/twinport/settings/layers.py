"""Layers of values, each of which knows where it said a value; pydantic-settings merges them."""

import re
import tomllib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from ..errors import SettingsError
from . import shapes
from .paths import KeyPath, held, paths


class Layer(PydanticBaseSettingsSource):
    """Some values of the settings, and where each was said."""

    def __init__(
        self, model: type[BaseSettings], values: dict[str, Any], problems: Sequence[str] = ()
    ) -> None:
        super().__init__(model)
        self.values: dict[str, Any] = shapes.with_joined_keys(values, model)
        self.strays: Sequence[KeyPath] = ()  # what was said of keys that cannot exist
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
        self.path = path
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
        numbers = re.findall(r"\d+", place)
        lines = self.text.split("\n")
        line, column = numbers or (len(lines), len(lines[-1]) + 1)
        return f":{line}:{column}: {what}" if place else f": {what}"

    @cached_property
    def _lines(self) -> Mapping[KeyPath, int]:
        """Where each key is: at the end of the shortest prefix that parses and holds it.

        Where there are no arrays of tables, what stands in front of a table does not matter to it.
        """
        found: dict[KeyPath, int] = {}
        said: dict[str, Any] = {}
        lines, start = self.text.split("\n"), 0
        is_flat = "[[" not in self.text
        for number, line in enumerate(lines, 1):
            if is_flat and said and line.lstrip().startswith("["):
                start = number - 1
            said = parsed("\n".join(lines[start:number]))
            for path in paths(shapes.with_joined_keys(said, self.settings_cls)):
                found.setdefault(path, number)
        return found


def said_by(layers: Sequence[Layer], path: KeyPath) -> Layer | None:
    """Return the layer that had the last word about `path`; the lowest of `layers` is first."""
    said = (layer for layer in reversed(layers) if held(layer.values, path))
    return next((layer for layer in said if not isinstance(layer, Facts)), None)


def text_of(path: Path) -> str:
    """Return the text of a file in UTF-8; raises SettingsError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror or error}"]) from error
    except ValueError as error:
        raise SettingsError([f"{path}: not text in UTF-8"]) from error


def parsed(text: str) -> dict[str, Any]:
    """Return what a text in TOML says; nothing if it is none."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return {}
