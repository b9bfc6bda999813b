"""Settings described: JSON Schema, the values in force, and every setting as commented TOML."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema, WithDefaultSchema

from .introspection import descriptions, dotted, leaves, masked, quoted
from .loading import Loaded, Root, complete
from .types import Quantity


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of what `model` reads; raises SettingsError for a type of no use."""
    complete(model)
    schema = model.model_json_schema(schema_generator=_SettingsSchema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_of_one_file(model: type[BaseModel]) -> Any:
    """Return the JSON Schema that fits each file, of which none has to say everything."""
    return _partial(json_schema(model))


def _partial(node: Any) -> Any:
    if isinstance(node, list):
        return [_partial(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: each for key, each in node.items() if key != "required" or isinstance(each, dict)}
    return {"anyOf" if key == "oneOf" else key: _partial(each) for key, each in kept.items()}


class _SettingsSchema(GenerateJsonSchema):
    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """Describe each field by the docstring below it."""
        written = super().model_schema(schema)
        for name, text in descriptions(schema["cls"]).items():
            written.get("properties", {}).get(name, {}).setdefault("description", text)
        return written

    def get_default_value(self, schema: WithDefaultSchema) -> Any:
        """Return a default of 5 seconds as "5s", not as ISO 8601 writes it."""
        if "default" not in schema:
            schema = _with_made(schema)
        default = super().get_default_value(schema)
        if "default" not in schema:
            return default  # pydantic's word for none
        inner: Any = schema
        while "schema" in inner and "serialization" not in inner:
            inner = inner["schema"]
        write = inner.get("serialization", {}).get("function")
        owner = getattr(write, "__self__", None)
        written = isinstance(owner, type) and issubclass(owner, Quantity)
        return write(default) if written and default is not None else default


def _with_made(schema: WithDefaultSchema) -> WithDefaultSchema:
    """Add the default that a `default_factory` makes, if it is another time the same."""
    make: Any = schema.get("default_factory")
    if make is None or schema.get("default_factory_takes_data"):
        return schema
    try:
        made, again = make(), make()
    except Exception:  # it needs what is not here, and then it is no default for everybody
        return schema
    return {**schema, "default": made} if made == again else schema


def as_text(loaded: Loaded[Root]) -> str:
    """Return a line of TOML for each value, without secrets, and its origin as a comment."""
    lines = {key: f"{key} = {toml(value)}" for key, value in _values(loaded).items()}
    width = min(max(map(len, lines.values())), 60)
    return "".join(f"{line:{width}}  # {loaded.origins[key]}\n" for key, line in lines.items())


def as_json(loaded: Loaded[Root]) -> str:
    """Return an object with the value, without secrets, and the origin of each key."""
    values = _values(loaded).items()
    shown = {key: {"value": value, "origin": loaded.origins[key]} for key, value in values}
    return json.dumps(shown, indent=2) + "\n"


def _values(loaded: Loaded[Root]) -> dict[str, Any]:
    settings = loaded.settings
    visible = masked(loaded.tables, type(settings), settings.redactor())
    return {dotted(path): value for path, value in leaves(visible)}


def toml(value: Any) -> str:
    """Return a value of JSON as TOML writes it; TOML has no null, "none" stands for it."""
    if isinstance(value, dict):
        inner = ", ".join(f"{dotted((key,))} = {toml(each)}" for key, each in value.items())
        return f"{{{inner and f' {inner} '}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return quoted(value)
    return "none" if value is None else str(value).lower()  # as in true, nan, 1e+16


Node = Mapping[str, Any]
Table = tuple[tuple[str, ...], Node, Any]  # path, schema, what the table around it gives


def reference(model: type[BaseModel]) -> str:
    """Return all settings as TOML; it is valid without the "#" before keys and tables."""
    schema = json_schema(model)
    return "\n".join(_Reference(schema.get("$defs", {})).lines(((), schema, {}))).strip() + "\n"


class _Reference:
    def __init__(self, definitions: Mapping[str, Node]) -> None:
        self._definitions = definitions

    def lines(self, table: Table, above: frozenset[str] = frozenset()) -> Iterator[str]:
        """Yield the lines of a table: first its plain values, then the tables in it."""
        path, node, given = table
        if path:
            yield from ("", *_prose(node.get("description", "")), f"#[{dotted(path)}]")
        inner = []
        for key, each in node["properties"].items():
            value = self._resolved(each)
            default = (given or {}).get(key, value.get("default"))
            tables = list(self._tables((*path, key), value, default))
            inner += tables
            if not tables:
                yield from _setting(key, value, default, key in node.get("required", ()))
        for each in inner:
            kind = each[1].get("$ref", "")
            if kind not in above:  # a table that may hold itself is shown once
                yield from self.lines(each, above | {kind} - {""})

    def _tables(self, path: tuple[str, ...], node: Node, given: Any) -> Iterator[Table]:
        """Yield the tables that a key stands for: one, or one for each kind, or for any NAME."""
        entry = node.get("additionalProperties")
        if "properties" in node:
            yield path, node, given
        elif isinstance(entry, dict):
            yield from self._named(path, node, self._resolved(entry), given or {})

    def _named(
        self, path: tuple[str, ...], node: Node, entry: Node, given: Mapping[str, Any]
    ) -> Iterator[Table]:
        """Yield the tables of a map from names to entries, which may be of several kinds."""
        description = node.get("description", "")
        kinds = [self._resolved(each) for each in entry.get("oneOf", [entry])]
        if not all("properties" in kind for kind in kinds):
            names = dict.fromkeys(given or ["NAME"], entry)
            yield path, {"description": description, "properties": names}, given
            return
        tag = entry.get("discriminator", {}).get("propertyName")
        about = f"{description} Any number of tables, with names of your own."
        for kind in kinds:
            name = kind["properties"][tag]["const"] if tag else "NAME"
            about = f"{about} {kind.get('description', '')}"
            yield (*path, name), {**kind, "description": about}, given.get(name)
            about = ""

    def _resolved(self, node: Node) -> dict[str, Any]:
        """Return a schema with its reference followed, and without its null."""
        possible = [each for each in node.get("anyOf", ()) if each.get("type") != "null"]
        target = possible[0] if len(possible) == 1 else {}
        if "$ref" in node:
            target = self._definitions[node["$ref"].rpartition("/")[2]]
        return {**(self._resolved(target) if target else {}), **node}


_TYPES = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "array": "a list",
    "object": "a table",
    "password": "a secret, from a file or a variable",
    "uri": "a URL",
    "path": "a path",
    "file-path": "a path to a file",
}
_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
    "minLength": "length at least",
    "maxLength": "length at most",
    "minItems": "items at least",
}
_EMPTY = {"integer": 0, "number": 0.0, "boolean": False, "array": [], "object": {}}


def _setting(key: str, node: Node, default: Any, required: bool) -> Iterator[str]:
    notes = [
        _type(node),
        *(f"{words} {node[each]}" for each, words in _BOUNDS.items() if each in node),
    ]
    if required:
        notes.append("required")
    elif default is None:
        notes.append("not set by default")
    yield from ("", *_prose(node.get("description", "")), *_prose("; ".join(notes)))
    yield f"#{dotted((key,))} = {toml(_placeholder(node) if default is None else default)}"


def _type(node: Node) -> str:
    if "const" in node:
        return f"{toml(node['const'])} here"
    if "enum" in node:
        return f"one of {', '.join(map(toml, node['enum']))}"
    if "x-kind" in node:
        return f"{node['x-kind']}, such as {toml(node['examples'][-1])}"
    return _TYPES.get(node.get("format") or node.get("type", ""), "of several types")


def _placeholder(node: Node) -> Any:
    choices = [node["const"]] if "const" in node else node.get("enum") or node.get("examples")
    return choices[0] if choices else node.get("minimum", _EMPTY.get(node.get("type", ""), ""))


def _prose(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), 98)]
