"""What a settings type holds: its fields, their paths and descriptions, and which are secret.

Descriptions are the docstrings below the fields, read when somebody asks. Pydantic can read them
too (use_attribute_docstrings), but does so at each import, a tenth of a start.
"""

import ast
import dataclasses
import inspect
import json
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import pairwise
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, BaseModel, RootModel, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from ..redact import MASK, Redactor
from .types import Section

KeyPath = tuple[str | int, ...]  # ("logs", "levels", "order_book.orders"), ("orders", "tags", 0)


def members(value: Any) -> Iterator[tuple[str | int, Any]]:
    """Yield what is in a table or a list, with its key or index."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def held(value: Any, path: KeyPath) -> bool:
    """Tell whether nested tables and lists hold something at `path`."""
    for part in path:
        inner = dict(members(value))
        if part not in inner:
            return False
        value = inner[part]
    return True


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of every table, list, item and value, outermost first."""
    yield from (inner for inner, _ in values(value, path))


def values(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every table, list, item and value with its path, outermost first."""
    for part, below in members(value):
        yield (*path, part), below
        yield from values(below, (*path, part))


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield each value that is no table, and each empty table, with its path."""
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for key, inner in value.items():
        yield from leaves(inner, (*path, str(key)))


def dotted(path: KeyPath) -> str:
    """Return `path` as TOML writes it."""
    return ".".join(_part(part) for part in path)


def _part(part: str | int) -> str:
    text = str(part)
    bare = text.isascii() and text.replace("-", "").replace("_", "").isalnum()
    return text if bare else quoted(text)


def quoted(text: str) -> str:
    """Return `text` as TOML writes it, on one line."""
    written = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08X}" for char in written)


def alternatives(kind: Any) -> list[Any]:
    """Return what `kind` may be, without `Annotated`, `None` and names for types."""
    if hasattr(kind, "__value__"):  # `type Name = ...`
        return alternatives(kind.__value__)
    if get_origin(kind) is Annotated:
        return alternatives(get_args(kind)[0])
    if get_origin(kind) in {Union, types.UnionType}:
        return [each for member in get_args(kind) for each in alternatives(member)]
    if isinstance(kind, type) and issubclass(kind, RootModel):
        return alternatives(kind.model_fields["root"].annotation)
    return [] if kind in {None, types.NoneType} else [kind]


def fields(kind: Any) -> dict[str, Any]:
    """Return the keys that a table of this kind may have, each with its own kind."""
    return {key: inner for each in alternatives(kind) for key, inner in _fields_of(each)}


def _fields_of(kind: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield from _keys(kind, name, field)
    elif _is_dataclass(kind):
        hints = get_type_hints(kind)
        yield from ((each.name, hints[each.name]) for each in dataclasses.fields(kind) if each.init)
    elif _is_typed_dict(kind):
        yield from get_type_hints(kind).items()


def _keys(kind: type[BaseModel], name: str, field: FieldInfo) -> Iterator[tuple[str, Any]]:
    """Yield all keys that one field answers to."""
    alias = field.validation_alias or field.alias or name
    for each in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        yield (each, field.annotation) if isinstance(each, str) else (str(each.path[0]), Any)
    if kind.model_config.get("validate_by_name") or kind.model_config.get("populate_by_name"):
        yield name, field.annotation


def tree(kind: Any, path: KeyPath = (), above: Sequence[Any] = ()) -> Iterator[KeyPath]:
    """Yield the path of every key that tables of this kind name; of a kind in itself, only once."""
    for name, inner in fields(kind).items():
        yield (*path, name)
        if not is_one_of(inner, above):
            yield from tree(inner, (*path, name), [*above, *alternatives(inner)])


def is_one_of(kind: Any, above: Sequence[Any]) -> bool:
    """Tell whether a table of this kind may hold itself, as those `above` it show."""
    return any(each in above for each in alternatives(kind))


def _is_dataclass(kind: Any) -> bool:  # and no object of one, as in Annotated[str, Constraint()]
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def _is_typed_dict(kind: Any) -> bool:  # that of typing, or that of typing_extensions
    return isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__total__")


def open_to_any_key(kind: Any) -> bool:
    """Tell whether a table of this kind takes keys that it does not name."""
    return not all(_names_its_keys(each) for each in alternatives(kind))


def _names_its_keys(kind: Any) -> bool:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_config.get("extra") != "allow"
    return _is_dataclass(kind) or _is_typed_dict(kind)


def entry(kind: Any) -> Any:
    """Return the kind of the values of a dict, or of the items of a list; None if it is neither."""
    for each in alternatives(kind):
        arguments = get_args(each)
        origin = get_origin(each)
        if arguments and isinstance(origin, type) and issubclass(origin, Mapping | Sequence | Set):
            return arguments[1] if issubclass(origin, Mapping) else arguments[0]
    return None


def inside(kind: Any, part: str | int) -> Any:
    """Return the kind of what `part` names in a table or list of this kind; None if unknown."""
    return fields(kind).get(str(part)) or entry(kind)


def at(kind: Any, path: KeyPath) -> Any:
    """Return the kind of the value at `path`; None if nobody knows."""
    for part in path:
        kind = inside(kind, part)
    return kind


def spelled(kind: Any, parts: Sequence[str]) -> Iterator[str]:
    """Yield `parts` with the case of the fields that they name; what names none stays as it is."""
    for part in parts:
        names = {name.lower(): name for name in fields(kind)}
        yield (name := names.get(part.lower(), part))
        kind = inside(kind, name)


def with_joined_keys(value: Any, kind: Any) -> Any:
    """Return `value` with `a.b = 1` as one key, "a.b", where a table maps names to plain values."""
    if not isinstance(value, dict):
        return value
    if _maps_to_plain(kind):
        return dict(_joined("", value))
    return {key: with_joined_keys(inner, inside(kind, key)) for key, inner in value.items()}


def _maps_to_plain(kind: Any) -> bool:
    plain = entry(kind) if get_origin(next(iter(alternatives(kind)), None)) is dict else None
    return plain not in {None, Any, object} and not fields(plain) and entry(plain) is None


def _joined(prefix: str, table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _joined(f"{prefix}{key}.", value)
        else:
            yield prefix + key, value


def describe(model: type[BaseModel]) -> None:
    """Give each field of `model`, and of the models in it, its description."""
    for each in dict.fromkeys(_models(model, set())):
        for name, text in descriptions(each).items():
            field = each.model_fields[name]
            field.description = field.description or text
        each.model_rebuild(force=True)


def descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the docstring of each field of `model` that has one, inherited ones included."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            found |= {name: text for name, text in _docstrings(each) if name in model.model_fields}
    return found


def _models(kind: Any, seen: set[Any]) -> Iterator[type[BaseModel]]:
    """Yield the models in `kind`, those inside before those around them."""
    for each in alternatives(kind):
        if each in seen:
            continue
        seen.add(each)
        for inner in (*fields(each).values(), entry(each)):
            yield from _models(inner, seen)
        if isinstance(each, type) and issubclass(each, BaseModel):
            yield each


def _docstrings(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    except (OSError, TypeError, SyntaxError):  # no source at hand
        return
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    for statement, below in pairwise(body):
        match statement, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text)


def masked(value: Any, kind: Any, redactor: Redactor) -> Any:
    """Return `value`, which is of this kind, without its secrets."""
    return _Rewrite(redactor, lambda secret: MASK, redactor.value).of(value, kind)


def secrets(value: Any, kind: Any, redactor: Redactor) -> set[str]:
    """Return the texts within `value`, which is of this kind, that nobody may see."""
    found: set[str] = set()
    _Rewrite(
        redactor,
        lambda secret: found.add(str(secret)),
        lambda plain: found.update(redactor.secrets(str(plain))),
    ).of(value, kind)
    return found


class _Rewrite:
    """Replaces what is a secret as a whole, and what is none but may hold one."""

    def __init__(
        self, redactor: Redactor, secret: Callable[[Any], Any], plain: Callable[[Any], Any]
    ) -> None:
        self._redactor, self._secret, self._plain = redactor, secret, plain

    def of(self, value: Any, kind: Any, hidden: bool = False) -> Any:
        """Return what stands for `value`; all of it is a secret if it is `hidden`."""
        if isinstance(value, dict):
            told = self._redactor.hidden(value)
            return {
                key: self.of(
                    inner,
                    inside(kind, key),
                    hidden or key == told or self._hides(kind, str(key)),
                )
                for key, inner in value.items()
            }
        if isinstance(value, list):
            told, inner = self._redactor.hidden(value), entry(kind)
            return [self.of(each, inner, hidden or i == told) for i, each in enumerate(value)]
        return self._leaf(value, kind, hidden)

    def _leaf(self, value: Any, kind: Any, hidden: bool) -> Any:
        if value in {None, ""} or isinstance(value, bool):
            return value
        if hidden or any(_is_secret(each) for each in alternatives(kind)):
            return self._secret(value)
        return self._plain(value)

    def _hides(self, kind: Any, key: str) -> bool:
        """Tell whether the name alone makes a secret of a text, or of texts in what is not ours."""
        # In a log a key may be one of anything, among settings it opens something.
        if not self._redactor.is_secret(key) and "key" not in key.lower():
            return False
        text = {str, bytes, Any, object, None}
        inner = inside(kind, key)
        found = alternatives(inner) or [inner]
        if any(_is_ours(each) for each in alternatives(kind)):
            names = key == "keys"  # of keys
            return str in found or (not names and str in map(entry, found))
        return any(each in text or entry(each) in text for each in found)


def _is_secret(kind: Any) -> bool:
    kind = get_origin(kind) or kind
    return isinstance(kind, type) and issubclass(kind, SecretStr | SecretBytes | Secret)


def _is_ours(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)
