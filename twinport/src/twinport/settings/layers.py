"""Layers of values, each of which knows where a value was said; pydantic-settings merges them."""

import re
import tomllib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from ..errors import SettingsError
from . import shapes
from .shapes import KeyPath, held, paths


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


class Text(NamedTuple):
    """A text that somebody gave to a key by a variable, a file or an argument."""

    origin: str
    key: str
    text: str


class Texts(Layer):
    """Texts for keys; each is read by the type of its field, lists and tables as TOML."""

    def __init__(
        self,
        model: type[BaseSettings],
        texts: Sequence[Text],
        delimiter: str,
        problems: Sequence[str] = (),
    ) -> None:
        values = _Reader(model, {text.key: text.text for text in texts}, delimiter)()
        super().__init__(model, values, problems)
        self._said = {tuple(text.key.split(delimiter)): text.origin for text in texts}
        self.strays = [path for path in self._said if not held(values, path)]

    def origin(self, path: KeyPath) -> str:
        """Return the name of the variable, the file or the argument."""
        wanted = _flat(path)
        near = [(len(key), key) for key in self._said if _related(_flat(key), wanted)]
        return self._said[max(near)[1]]


class _Reader(EnvSettingsSource):
    def __init__(self, model: type[BaseSettings], texts: Mapping[str, str], delimiter: str) -> None:
        super().__init__(model, case_sensitive=True, env_prefix="", env_nested_delimiter=delimiter)
        self.env_vars = texts

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Read TOML instead of JSON; what is none stays text, for pydantic to refuse by name."""
        table = parsed(f"value = {value}")
        return table["value"] if table.keys() == {"value"} else value

    def next_field(
        self, field: FieldInfo | Any | None, key: str, case_sensitive: bool | None = None
    ) -> FieldInfo | None:
        """Look into plain dataclasses and TypedDicts, too."""
        kind = field.annotation if isinstance(field, FieldInfo) else field
        inner = shapes.inside(kind, key)
        known = super().next_field(field, key, case_sensitive)
        return known or (FieldInfo.from_annotation(inner) if inner else None)


def _flat(path: KeyPath) -> str:
    return ".".join(map(str, path)) + "."


def _related(key: str, wanted: str) -> bool:
    return wanted.startswith(key) or key.startswith(wanted)
