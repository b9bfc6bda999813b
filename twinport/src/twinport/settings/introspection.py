"""What settings hold: paths of keys, the fields of a type with their descriptions, secrets.

Descriptions are the docstrings below the fields, read when somebody asks. Pydantic can read them
too (use_attribute_docstrings), but does so at each import, a tenth of a start.
"""

import ast
import dataclasses
import inspect
import json
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice, pairwise
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, BaseModel, RootModel, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from ..redact import MASK, Redactor
from .types import Section

KeyPath = tuple[str | int, ...]  # ("logs", "levels", "order_book.orders"), ("orders", "tags", 0)


def items(value: Any) -> Iterator[tuple[str | int, Any]]:
    """Yield what is in a table or a list, with its key or index."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def holds(value: Any, path: KeyPath) -> bool:
    """Tell whether nested tables and lists hold something at `path`."""
    for part in path:
        inner = dict(items(value))
        if part not in inner:
            return False
        value = inner[part]
    return True


def walk(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every table, list, item and value with its path, outermost first."""
    for part, inner in items(value):
        yield (*path, part), inner
        yield from walk(inner, (*path, part))


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield each value that is no table, and each empty table, with its path."""
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for key, inner in value.items():
        yield from leaves(inner, (*path, str(key)))


def dotted(path: KeyPath) -> str:
    """Return `path` as TOML writes it."""
    return ".".join(_part(str(part)) for part in path)


def _part(text: str) -> str:
    is_bare = text.isascii() and text.replace("-", "").replace("_", "").isalnum()
    return text if is_bare else quoted(text)


def quoted(text: str) -> str:
    """Return `text` as TOML writes it, on one line."""
    written = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08X}" for char in written)


def alternatives(annotation: Any) -> list[Any]:
    """Return the members of a union, without `Annotated`, `None` and names for types."""
    if hasattr(annotation, "__value__"):  # `type Name = ...`
        return alternatives(annotation.__value__)
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return [each for member in get_args(annotation) for each in alternatives(member)]
    if _is_subclass(annotation, RootModel):
        return alternatives(annotation.model_fields["root"].annotation)
    return [] if annotation in {None, types.NoneType} else [annotation]


def fields(annotation: Any) -> dict[str, Any]:
    """Return the keys that a table of this type may have, each with its own type."""
    return {key: inner for each in alternatives(annotation) for key, inner in _fields_of(each)}


def _fields_of(kind: Any) -> Iterator[tuple[str, Any]]:
    if is_model(kind):
        for name, field in kind.model_fields.items():
            yield from _keys(kind, name, field)
    elif _is_dataclass(kind):
        hints = get_type_hints(kind)
        yield from ((each.name, hints[each.name]) for each in dataclasses.fields(kind) if each.init)
    elif _is_typed_dict(kind):
        yield from get_type_hints(kind).items()


def _keys(model: type[BaseModel], name: str, field: FieldInfo) -> Iterator[tuple[str, Any]]:
    """Yield all keys that one field answers to."""
    alias = field.validation_alias or field.alias or name
    for each in alias.choices if isinstance(alias, AliasChoices) else [alias]:
        yield (each, field.annotation) if isinstance(each, str) else (str(each.path[0]), Any)
    if model.model_config.get("validate_by_name") or model.model_config.get("populate_by_name"):
        yield name, field.annotation


def _is_subclass(kind: Any, *bases: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, bases)


def is_model(kind: Any) -> bool:
    """Tell whether it is a pydantic model."""
    return _is_subclass(kind, BaseModel)


def _is_dataclass(kind: Any) -> bool:  # and no object of one, as in Annotated[str, Constraint()]
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def _is_typed_dict(kind: Any) -> bool:  # that of typing, or that of typing_extensions
    return _is_subclass(kind, dict) and hasattr(kind, "__total__")


def _is_table(kind: Any) -> bool:
    return is_model(kind) or _is_dataclass(kind) or _is_typed_dict(kind)


def takes_any_key(annotation: Any) -> bool:
    """Tell whether a table of this type takes keys that it does not name."""
    return not all(
        _is_table(each) and getattr(each, "model_config", {}).get("extra") != "allow"
        for each in alternatives(annotation)
    )


def is_structured(annotation: Any) -> bool:
    """Tell whether it may be a table or a list."""
    kinds = alternatives(annotation)
    return any(_is_table(each) or item_type(each) is not None for each in kinds)


def item_type(annotation: Any) -> Any:
    """Return the type of the values of a dict, or of the items of a list; None if it is neither."""
    for each in alternatives(annotation):
        origin = get_origin(each) or each
        if _is_subclass(origin, Mapping, Sequence, Set) and not _is_subclass(
            each, str, bytes, dict
        ):
            arguments = get_args(each) or (Any, Any)
            return arguments[1] if issubclass(origin, Mapping) else arguments[0]
    return None


def type_in(annotation: Any, part: str | int) -> Any:
    """Return the type of what `part` names in a table or list of this type; None if unknown."""
    return fields(annotation).get(str(part)) or item_type(annotation)


def type_at(annotation: Any, path: KeyPath) -> Any:
    """Return the type of the value at `path`; None if nobody knows."""
    for part in path:
        annotation = type_in(annotation, part)
    return annotation


def all_keys(annotation: Any, path: KeyPath = (), above: Sequence[Any] = ()) -> Iterator[KeyPath]:
    """Yield the path of every key that tables of this type name; of a type in itself, only once."""
    for name, inner in fields(annotation).items():
        yield (*path, name)
        if not is_one_of(inner, above):
            yield from all_keys(inner, (*path, name), [*above, *alternatives(inner)])


def is_one_of(annotation: Any, above: Sequence[Any]) -> bool:
    """Tell whether a table of this type may hold itself, as those `above` it show."""
    return any(each in above for each in alternatives(annotation))


def respelled(annotation: Any, path: KeyPath, tables: Sequence[Any]) -> Iterator[str]:
    """Yield `path` with the case of the fields that it names, or of the keys that are in `tables`.

    A name that is new is in small letters. Raises LookupError for one that is there in several
    cases, and written in none of them.
    """
    while path:
        part, *rest = [".".join(map(str, path))] if _maps_to_plain(annotation) else map(str, path)
        yield (name := _respelled(part, fields(annotation), tables))
        annotation, path = type_in(annotation, name), tuple(rest)
        tables = [table[name] for table in tables if isinstance(table.get(name), dict)]


def _respelled(part: str, known: Iterable[str], tables: Sequence[Any]) -> str:
    lower = part.lower()
    there = {key for table in tables for key in table if key.lower() == lower}
    names = {name.lower(): name for name in known}
    if lower in names or part in there:
        return names.get(lower, part)
    if len(there) > 1:
        raise LookupError(f"may mean {' or '.join(_part(each) for each in sorted(there))}")
    return next(iter(there), lower)


def with_joined_keys(value: Any, annotation: Any) -> Any:
    """Return `value` with `a.b = 1` as one key, "a.b", where a table maps names to plain values."""
    if not isinstance(value, dict):
        return value
    if _maps_to_plain(annotation):
        return {".".join(map(str, path)): leaf for path, leaf in leaves(value) if path}
    return {key: with_joined_keys(inner, type_in(annotation, key)) for key, inner in value.items()}


def _maps_to_plain(annotation: Any) -> bool:
    is_dict = get_origin(next(iter(alternatives(annotation)), None)) is dict
    plain = item_type(annotation) if is_dict else None
    return plain not in {None, Any, object} and not is_structured(plain)


def default_tables(annotation: Any, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an empty table for each one that `value` lacks and its class would make by default.

    Pydantic checks those as any other, while what a `default_factory` raises hides all else.
    """
    kinds = alternatives(annotation)
    model = kinds[0] if len(kinds) == 1 and is_model(kinds[0]) else BaseModel
    lacking: dict[str, Any] = {
        key: {}
        for name, field in model.model_fields.items()
        for key, inner in islice(_keys(model, name, field), 1)
        if alternatives(inner) == [field.default_factory]
    }
    given = {key: inner for key, inner in value.items() if isinstance(inner, dict)}
    tables = {
        key: default_tables(type_in(annotation, key), inner)
        for key, inner in (lacking | given).items()
    }
    return {key: inner for key, inner in tables.items() if inner or key in lacking}


def descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the docstring of each field of `model` that has one, inherited ones included."""
    classes = [each for each in reversed(model.__mro__) if is_model(each) and each is not BaseModel]
    texts = [each for kind in classes for each in _docstrings(kind)]
    return {name: text for name, text in texts if name in model.model_fields}


def _docstrings(model: type) -> Iterator[tuple[str, str]]:
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


Leaf = Callable[[Any, bool], Any]  # what replaces a value, which is a secret or not


def masked(value: Any, annotation: Any, redactor: Redactor) -> Any:
    """Return `value`, which is of this type, without its secrets."""

    def mask(leaf: Any, is_secret: bool) -> Any:
        return MASK if is_secret else redactor.value(leaf)

    return _replaced(value, annotation, redactor, mask)


def secrets(value: Any, annotation: Any, redactor: Redactor) -> set[str]:
    """Return the texts within `value`, which is of this type, that nobody may see."""
    texts: set[str] = set()

    def collect(leaf: Any, is_secret: bool) -> None:
        texts.update([str(leaf)] if is_secret else redactor.secrets(str(leaf)))

    _replaced(value, annotation, redactor, collect)
    return texts


def _replaced(
    value: Any, annotation: Any, redactor: Redactor, leaf: Leaf, is_secret: bool = False
) -> Any:
    """Return `value` with each leaf replaced; in a secret table all of them are secrets."""
    if not isinstance(value, dict | list):
        is_secret = is_secret or any(map(_is_secret_type, alternatives(annotation)))
        return value if value in {None, ""} or isinstance(value, bool) else leaf(value, is_secret)
    named = redactor.hidden(value)
    inner = {
        key: _replaced(
            each,
            type_in(annotation, key),
            redactor,
            leaf,
            is_secret or key == named or _is_secret_name(key, annotation, redactor),
        )
        for key, each in items(value)
    }
    return inner if isinstance(value, dict) else [*inner.values()]


def _is_secret_type(kind: Any) -> bool:
    return _is_subclass(get_origin(kind) or kind, SecretStr, SecretBytes, Secret)


def _is_secret_name(key: str | int, annotation: Any, redactor: Redactor) -> bool:
    """Tell whether a key says that its value is secret: in our tables a text, elsewhere anything.

    In a log a key may be one of anything, among settings it opens something.
    """
    name = str(key)
    if isinstance(key, int) or not (redactor.is_secret(name) or "key" in name.lower()):
        return False
    inner = type_in(annotation, name)
    if not _is_section(annotation):
        return not _is_section(inner)  # whose own keys tell
    kinds = alternatives(inner)
    is_list_of_names = name == "keys"  # as in [logs.redact]
    return str in kinds or (not is_list_of_names and str in map(item_type, kinds))


def _is_section(annotation: Any) -> bool:
    return any(_is_subclass(each, Section) for each in alternatives(annotation))
