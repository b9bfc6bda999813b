"""Texts for keys, from variables, secret files and arguments; pydantic-settings reads them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource

from . import shapes
from .layers import Layer, parsed
from .paths import KeyPath, held


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
