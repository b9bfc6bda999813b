"""What only REST has: its statuses, unknown fields, wrong types, lines, server-sent events."""

import json
from pathlib import Path

import httpx2
import pytest
from twinport.testing import LocalService, rest_events

from {{ cookiecutter.__package }}.orders.v1 import orders_pb2

from .clients import RestClient, soon

PROTO = Path(__file__).parents[2] / "proto" / orders_pb2.DESCRIPTOR.name
TEA = {"sku": "tea", "quantity": 1}

WRONG_BODIES = [  # what is sent, the field that is named
    (TEA | {"colour": "red"}, "colour"),
    (TEA | {"quantity": "1"}, "quantity"),
    (TEA | {"quantity": 1.5}, "quantity"),
    (TEA | {"quantity": 10**40}, "quantity"),
    (TEA | {"sku": 1}, "sku"),
    ({"sku": "tea"}, "quantity"),
]


def wrong_fields(answer: httpx2.Response) -> list[str]:
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
    return [wrong["field"] for wrong in answer.json()["errors"]]


@pytest.mark.parametrize(("body", "field"), WRONG_BODIES)
async def test_a_wrong_body_names_its_field(service: LocalService, body, field):
    assert wrong_fields(await service.rest.post("/v1/orders", json=body)) == [field]


@pytest.mark.parametrize("operation", ["import", "quote"])
async def test_a_wrong_line_names_its_number_and_its_field(service: LocalService, operation):
    wrong = json.dumps(TEA | {"quantity": "1"})
    answer = await service.rest.post(f"/v1/orders:{operation}", content=wrong)
    assert wrong_fields(answer) == ["0.quantity"]


async def test_a_whole_number_may_be_written_with_a_point(service: LocalService):
    answer = await service.rest.post("/v1/orders", json=TEA | {"quantity": 2.0})
    assert (answer.status_code, answer.text.count('"quantity":2}')) == (201, 1)


async def test_the_statuses_say_what_happened(service: LocalService):
    created = await service.rest.post("/v1/orders", json=TEA)
    deleted = await service.rest.delete(f"/v1/orders/{created.json()['id']}")
    assert (created.status_code, deleted.status_code, deleted.content) == (201, 204, b"")


async def test_a_browser_resumes_a_watch_by_the_id_of_the_last_event(
    service: LocalService, rest: RestClient
):
    watch = rest.watch_orders()
    begun = await soon(anext(watch))
    await watch.aclose()
    order = await rest.create_order(**TEA)
    headers = {"last-event-id": begun["resume_token"]}
    async with service.rest.stream("GET", "/v1/orders:watch", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = rest_events(answer)
        assert [(await soon(anext(events))).data for _ in range(2)] == [None, order]


async def test_a_wrong_last_event_id_is_named(service: LocalService):
    answer = await service.rest.get("/v1/orders:watch", headers={"last-event-id": "x"})
    assert wrong_fields(answer) == ["last-event-id"]


async def test_the_bounds_are_shown_and_the_proto_names_the_same(service: LocalService):
    document = (await service.rest.get("/openapi.json")).json()
    new = document["components"]["schemas"]["NewOrder"]["properties"]
    proto = PROTO.read_text(encoding="utf-8")
    least, most = (new["quantity"][bound] for bound in ("minimum", "maximum"))
    assert f"Pieces, {least:,.0f} to {most:,.0f}." in proto
    assert f"at most {new['sku']['maxLength']} characters" in proto
    assert f"at most {new['idempotency_key']['maxLength']} printable" in proto
