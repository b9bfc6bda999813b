"""Checks of an OpenAPI document: it is valid, and it tells a caller all there is to know."""

import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.resources import files
from typing import Any

from ..extras import needing

SCHEMA = "openapi-3.1.json"  # of spec.openapis.org/oas/3.1/schema
METHODS = {"delete", "get", "head", "options", "patch", "post", "put", "trace"}
PROBLEM = ("application/problem+json",)  # RFC 9457
BODILESS = "204"

Node = Mapping[str, Any]


def openapi_violations(document: Node) -> list[str]:
    """Return a line for each thing that OpenAPI 3.1 forbids; needs the extra `testing`."""
    try:
        validator = import_module("jsonschema").Draft202012Validator
    except ModuleNotFoundError as error:
        raise needing("openapi_violations", error) from error
    openapi = json.loads(files(__package__).joinpath(SCHEMA).read_text(encoding="utf-8"))
    named = document.get("components", {}).get("schemas", {}).values()
    schemas = [*_schemas(document["paths"]), *named]
    wrong = [
        each for schema in schemas for each in validator(validator.META_SCHEMA).iter_errors(schema)
    ]
    return [error.message for error in (*validator(openapi).iter_errors(document), *wrong)]


def openapi_gaps(document: Node) -> list[str]:
    """Return a line for each thing that a reader misses, such as "GET /v1/orders: no summary".

    An operation has a tag, a summary and a description, documents its errors as problems, and
    has an example of each value. What leads nowhere is a gap, too.
    """
    return [
        f"{method.upper()} {path}: {gap}"
        for path, item in document["paths"].items()
        for method in METHODS & item.keys()
        for gap in _gaps(item[method], document)
    ]


def _gaps(operation: Node, document: Node) -> Iterator[str]:
    yield from (f"no {key}" for key in ("tags", "summary", "description") if not operation.get(key))
    responses = operation["responses"]
    good = [code for code in responses if code[0] in "23"]
    if "default" not in responses:
        yield "no default response, for any error"
    for code in responses.keys() - good:
        if tuple(responses[code].get("content", ())) != PROBLEM:
            yield f"{code} is no {PROBLEM[0]}"
    described = [responses[code] for code in good if code != BODILESS]
    said = [operation.get("parameters", []), operation.get("requestBody", {}), described]
    for schema in _schemas(said):
        yield from _unexplained(schema, document)


def _unexplained(schema: Node, document: Node) -> Iterator[str]:
    """Yield what `schema` is made of and has no example."""
    schema = _resolved(schema, document)
    inner = [schema.get("items"), schema.get("contentSchema")]
    parts = [*schema.get("properties", {}).values(), *filter(None, inner)]
    for part in parts:
        yield from _unexplained(part, document)
    if not parts and "examples" not in schema:
        yield f"no example of {schema.get('title', schema.get('$ref', schema))}"


def _resolved(schema: Node, document: Node) -> Node:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found: Node = document.get("components", {}).get("schemas", {}).get(name, schema)
    return found


def _schemas(node: Any) -> Iterator[Node]:
    """Yield every schema that stands in `node`, wherever it is."""
    children = (
        node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    )
    if isinstance(node, Mapping) and "schema" in node:
        yield node["schema"]
    for child in children:
        yield from _schemas(child)
