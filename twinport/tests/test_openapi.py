"""The OpenAPI document is valid, and the checks for it find what is missing."""

from copy import deepcopy
from importlib import import_module
from typing import Any

import pytest

from sample.app import build
from sample.settings import Settings
from twinport import testing
from twinport.extras import MissingExtraError
from twinport.testing import openapi_gaps, openapi_violations

LIST = "GET /v1/orders"


@pytest.fixture
async def document() -> dict[str, Any]:
    async with testing.serving(testing.free(Settings), build) as service:
        document: dict[str, Any] = (await service.rest.get("/openapi.json")).json()
    return document


async def test_the_document_is_valid(document: dict[str, Any]):
    assert document["openapi"].startswith("3.1.")
    assert openapi_violations(document) == []


async def test_every_error_is_documented_as_a_problem(document: dict[str, Any]):
    assert [gap for gap in openapi_gaps(document) if "problem" in gap or "default" in gap] == []


def without_description(document: dict[str, Any], operation: dict[str, Any]) -> None:
    del operation["description"]


def without_default(document: dict[str, Any], operation: dict[str, Any]) -> None:
    del operation["responses"]["default"]


def with_plain_error(document: dict[str, Any], operation: dict[str, Any]) -> None:
    operation["responses"]["418"] = {"description": "?", "content": {"text/plain": {}}}


def without_example(document: dict[str, Any], operation: dict[str, Any]) -> None:
    operation["parameters"].append({"schema": {"type": "string", "title": "Colour"}})


GAPS = [
    (without_description, "no description"),
    (without_default, "no default response, for any error"),
    (with_plain_error, "418 is no application/problem+json"),
    (without_example, "no example of Colour"),
]


@pytest.mark.parametrize(("damage", "gap"), GAPS)
async def test_what_a_reader_would_miss_is_named(document: dict[str, Any], damage: Any, gap: str):
    damaged = deepcopy(document)
    damage(damaged, damaged["paths"]["/v1/orders"]["get"])
    assert {*openapi_gaps(damaged)} - {*openapi_gaps(document)} == {f"{LIST}: {gap}"}


async def test_what_openapi_forbids_is_named(document: dict[str, Any]):
    document["components"]["schemas"]["Order"]["type"] = "rubbish"
    document["paths"]["/v1/orders"]["get"]["responses"] = {}
    assert len(openapi_violations(document)) >= 2


async def test_without_jsonschema_one_line_says_what_to_install(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(import_module(openapi_violations.__module__), "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"needs twinport\[testing\]"):
        openapi_violations(document)
