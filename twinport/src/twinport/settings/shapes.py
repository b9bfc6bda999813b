"""What a settings type can hold: models, dataclasses, TypedDicts and dicts looked at alike."""

import dataclasses
import types
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, BaseModel, RootModel
from pydantic.fields import FieldInfo

from .paths import KeyPath


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
