"""The OpenAPI document, and that it says of orders what gRPC's says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from {{ cookiecutter.__package }}.orders.v1 import orders_pb2

HERE = Path(__file__).parent
PROTO = Path(__file__).parents[2] / "proto" / orders_pb2.DESCRIPTOR.name
BODILESS = "204"


@pytest.fixture
async def document(ports) -> dict[str, Any]:
    async with httpx.AsyncClient() as http:
        return (await http.get(f"http://127.0.0.1:{ports.http}/openapi.json")).json()


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path, item in document["paths"].items():
        if "/orders" in path:
            yield from item.values()


def schemas(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema that stands in `node`, wherever it is."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and "schema" in node:
        yield node["schema"]
    for child in children:
        yield from schemas(child)


def resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    named: dict[str, Any] = document["components"]["schemas"]
    return named[schema["$ref"].rpartition("/")[2]]


async def test_the_document_is_valid_openapi(document):
    openapi = json.loads((HERE / "openapi-3.1.json").read_text(encoding="utf-8"))
    assert document["openapi"].startswith("3.1.")
    assert [e.message for e in Draft202012Validator(openapi).iter_errors(document)] == []


async def test_every_schema_is_valid_and_leads_somewhere(document):
    for schema in [*schemas(document["paths"]), *document["components"]["schemas"].values()]:
        Draft202012Validator.check_schema(resolved(schema, document))


async def test_every_operation_is_described(document):
    for operation in operations(document):
        assert operation["tags"] == ["orders"]
        assert operation["summary"]
        assert operation["description"]


async def test_every_operation_documents_its_errors_as_problems(document):
    for operation in operations(document):
        refusals = {code: a for code, a in operation["responses"].items() if code[0] not in "23"}
        assert {"400", "default"} <= refusals.keys() - {"422"}
        assert {tuple(answer["content"]) for answer in refusals.values()} == {
            ("application/problem+json",)
        }


async def test_every_value_has_an_example(document):
    for operation in operations(document):
        good = {c: a for c, a in operation["responses"].items() if c[0] == "2" and c != BODILESS}
        said = [operation.get("parameters", []), operation.get("requestBody", {}), good]
        found = [resolved(schema, document) for schema in schemas(said)]
        assert found, operation["operationId"]
        assert [s["title"] for schema in found for s in unexplained(schema, document)] == []


def unexplained(schema: dict[str, Any], document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what `schema` is made of and has no example."""
    inner = [schema.get("items"), schema.get("contentSchema")]
    parts = [*schema.get("properties", {}).values(), *filter(None, inner)]
    for part in parts:
        yield from unexplained(resolved(part, document), document)
    if not parts and "examples" not in schema:
        yield schema


async def test_the_bounds_are_shown_and_the_proto_names_the_same(document):
    new = document["components"]["schemas"]["NewOrder"]["properties"]
    proto = PROTO.read_text(encoding="utf-8")
    assert (
        f"Pieces, {new['quantity']['minimum']:,.0f} to {new['quantity']['maximum']:,.0f}." in proto
    )
    assert f"at most {new['sku']['maxLength']} characters" in proto
    assert f"at most {new['idempotency_key']['maxLength']} printable" in proto
