"""JSON as RFC 8259 has it, wherever a body or a line of one is read."""

from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Body

from sample.app import build
from sample.settings import Settings
from twinport import Service

ORDER = '{"sku":"tea","quantity":1}'
REFUSED = {
    "UTF-16": ORDER.encode("utf-16"),
    "UTF-16 without a mark": ORDER.encode("utf-16-le"),
    "UTF-32": ORDER.encode("utf-32-be"),
    "a byte order mark": ORDER.encode("utf-8-sig"),
    "half a surrogate": b'{"sku":"\xed\xa0\x80","quantity":1}',
    "a byte of no UTF-8": b'{"sku":"\xff","quantity":1}',
    "a fraction": b'{"sku":"tea","quantity":1.5}',
    "almost a whole number": b'{"sku":"tea","quantity":0.' + b"9" * 20 + b"}",
    "a whole number as a fraction": b'{"sku":"tea","quantity":1.0}',
    "a whole number in quotes": b'{"sku":"tea","quantity":"1"}',
    "no number": b'{"sku":"tea","quantity":NaN}',
    "a comma too many": b'{"sku":"tea","quantity":1,}',
    "quotes of Python": b"{'sku':'tea','quantity':1}",
    "two documents": f"{ORDER} {ORDER}".encode(),
}
ACCEPTED = {  # and which quantity it is
    "blanks around it": (b" \t" + ORDER.encode() + b" ", 1),
    "escapes": (b'{"\\u0073ku":"tea","quantity":1}', 1),
    "two members with one name": (b'{"sku":"tea","quantity":1,"quantity":2}', 2),
}
JSON = "application/json"
KINDS = {"/v1/orders": JSON, "/v1/orders:import": "application/jsonl"}


async def post(ports: Any, path: str, body: bytes) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}") as http:
        return await http.post(path, content=body, headers={"content-type": KINDS.get(path, JSON)})


@pytest.mark.parametrize("path", KINDS)
async def test_what_is_no_json_is_refused(ports, path: str):
    answers = {name: await post(ports, path, body) for name, body in REFUSED.items()}
    assert {name: each.status_code for name, each in answers.items()} == dict.fromkeys(REFUSED, 400)


@pytest.mark.parametrize("path", KINDS)
async def test_what_is_json_is_read(ports, path: str):
    for name, (body, quantity) in ACCEPTED.items():
        answer = await post(ports, path, body)
        assert answer.is_success, name
        orders = (await listed(ports))["orders"]
        assert (name, orders[-1]["quantity"]) == (name, quantity)


async def listed(ports: Any) -> Any:
    async with httpx2.AsyncClient() as http:
        return (await http.get(f"http://127.0.0.1:{ports.http}/v1/orders")).json()


NUMBERS = {  # of fields that are not strict: what is sent, and what it is
    b'{"number":1}': 1,
    b'{"number":1.5}': 1.5,
    b'{"number":NaN}': None,
    b'{"number":Infinity}': None,
    b'{"number":-Infinity}': None,
    b'{"whole":2.0}': 2,
    b'{"whole":2e0}': 2,
    b'{"whole":2.00000000000000000001}': 2,
    b'{"whole":2.5}': None,
}


async def test_numbers_are_those_of_json_and_rounded_where_a_field_is_not_strict(
    serving, settings: Settings
):
    async def built(service: Service, settings: Settings) -> None:
        await build(service, settings)

        @service.rest.post("/number")
        async def take(
            number: Annotated[float, Body()] = 0, whole: Annotated[int, Body()] = 0
        ) -> float:
            return number or whole

    async with serving(settings, built) as ports:
        answers = {body: await post(ports, "/number", body) for body in NUMBERS}
    read = {body: answer.json() for body, answer in answers.items() if answer.is_success}
    assert read == {body: number for body, number in NUMBERS.items() if number}
    refused = {answer.status_code for body, answer in answers.items() if body not in read}
    assert refused == {400}
