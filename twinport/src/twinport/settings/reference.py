"""Every setting there is, as commented TOML: `#key` is a setting, `# text` explains the next."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from .paths import dotted
from .schema import json_schema
from .show import toml

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
        kinds = [self._resolved(each) for each in entry.get("oneOf", [entry])]
        if not all("properties" in kind for kind in kinds):
            names = dict.fromkeys(given or ["NAME"], entry)
            yield path, {"description": node.get("description", ""), "properties": names}, given
            return
        tag = entry.get("discriminator", {}).get("propertyName")
        about = f"{node.get('description', '')} Any number of tables, with names of your own."
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


def _setting(key: str, node: Node, default: Any, required: bool) -> Iterator[str]:
    notes = list(_notes(node))
    if required:
        notes.append("required")
    elif default is None:
        notes.append("not set by default")
    yield from ("", *_prose(node.get("description", "")), *_prose("; ".join(notes)))
    yield f"#{dotted((key,))} = {toml(_placeholder(node) if default is None else default)}"


def _notes(node: Node) -> Iterator[str]:
    if "const" in node:
        yield f"{toml(node['const'])} here"
    elif "enum" in node:
        yield f"one of {', '.join(map(toml, node['enum']))}"
    elif "x-kind" in node:
        yield f"{node['x-kind']}, such as {toml(node['examples'][-1])}"
    else:
        yield _TYPES.get(node.get("format") or node.get("type", ""), "of several types")
    for keyword, words in _BOUNDS.items():
        if keyword in node:
            yield f"{words} {node[keyword]}"


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


def _placeholder(node: Node) -> Any:
    if "const" in node:
        return node["const"]
    for choices in ("enum", "examples"):
        if node.get(choices):
            return node[choices][0]
    empty = {"integer": 0, "number": 0.0, "boolean": False, "array": [], "object": {}}
    return node.get("minimum", empty.get(node.get("type", ""), ""))


def _prose(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), 98)]
