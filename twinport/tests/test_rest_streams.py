"""Lines and server-sent events over REST: mistakes, their ends, and callers who hang up."""

import json

import httpx2
import pytest

from sample.app import build
from sample.settings import Settings
from twinport import testing
from twinport.testing import Duplex, LocalService

TEA = {"sku": "tea", "quantity": 1}
IMPORT, QUOTE = "/v1/orders:import", "/v1/orders:quote"

WRONG_LINES = [  # what is sent, the field that is named
    (TEA | {"colour": "red"}, "colour"),
    (TEA | {"quantity": "1"}, "quantity"),
    (TEA | {"quantity": True}, "quantity"),
    (TEA | {"quantity": None}, "quantity"),
    (TEA | {"quantity": 10**40}, "quantity"),
    ({"sku": "tea"}, "quantity"),
]


@pytest.fixture
async def local() -> LocalService:
    async with testing.serving(testing.free(Settings), build) as service:
        yield service


def wrong_fields(answer: httpx2.Response) -> list[str]:
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
    return [wrong["field"] for wrong in answer.json()["errors"]]


@pytest.mark.parametrize(("content", "field"), WRONG_LINES)
async def test_a_wrong_body_and_a_wrong_line_name_the_field(local: LocalService, content, field):
    lines = f"{json.dumps(TEA)}\n\n{json.dumps(content)}\n"
    assert wrong_fields(await local.rest.post("/v1/orders", json=content)) == [field]
    assert wrong_fields(await local.rest.post(IMPORT, content=lines)) == [f"1.{field}"]


@pytest.mark.parametrize("line", [b"{", b"[]", b"null", b"\xff", b'{"sku": "tea"} {}'])
async def test_a_line_that_is_no_object_names_its_number(local: LocalService, line: bytes):
    assert wrong_fields(await local.rest.post(IMPORT, content=line)) == ["0"]
    assert wrong_fields(await local.rest.post(QUOTE, content=line)) == ["0"]


async def test_the_last_line_needs_no_end_and_a_line_may_end_as_in_windows(local: LocalService):
    body = json.dumps(TEA).encode()
    answer = await local.rest.post(IMPORT, content=body + b"\r\n" + body)
    assert answer.json() == {"created": 2, "existing": 0}


async def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(local: LocalService):
    answer = await local.rest.post(IMPORT, content=b" " * 200_000)
    assert answer.json()["code"] == "RESOURCE_EXHAUSTED"


async def test_a_problem_in_the_midst_of_an_answer_is_its_last_line(local: LocalService):
    async with Duplex.post(local.ports.http, QUOTE) as duplex:
        lines = duplex.lines()
        duplex.send(json.dumps(TEA).encode() + b"\n")
        assert json.loads(await anext(lines))["quantity"] == 1
        duplex.send(b"{}\n", end=True)
        problem = json.loads(await anext(lines))
        assert (duplex.status, problem["status"], problem["code"]) == (200, 400, "INVALID_ARGUMENT")
        assert [line async for line in lines] == []


@pytest.mark.parametrize("ratio", [0, 1], ids=["plain", "traced"])
@pytest.mark.parametrize("path", [IMPORT, QUOTE])
async def test_a_caller_who_hangs_up_is_no_fault_of_the_service(path: str, ratio: int):
    settings = testing.free(Settings, {"traces.sample_ratio": ratio})
    async with testing.serving(settings, build) as service:
        async with Duplex.post(service.ports.http, path) as duplex:
            duplex.send(json.dumps(TEA).encode() + b"\n")
        [call] = await service.ended_calls()
    assert (call.code, call.error) == ("CANCELLED", None)
