"""What only REST has: unknown fields, wrong types, lines, server-sent events."""

import json

import httpx
import pytest
from orders.clients import RestClient, soon
from orders.duplex import Duplex

TEA = {"sku": "tea", "quantity": 1}

WRONG_BODIES = [  # what is sent, the field that is named
    (TEA | {"colour": "red"}, "colour"),
    (TEA | {"quantity": "1"}, "quantity"),
    (TEA | {"quantity": 1.5}, "quantity"),
    (TEA | {"quantity": True}, "quantity"),
    (TEA | {"quantity": None}, "quantity"),
    (TEA | {"quantity": 10**40}, "quantity"),
    (TEA | {"sku": 1}, "sku"),
    ({"sku": "tea"}, "quantity"),
]


def wrong_fields(answer: httpx.Response) -> list[str]:
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
    return [wrong["field"] for wrong in answer.json()["errors"]]


@pytest.mark.parametrize(("body", "field"), WRONG_BODIES)
async def test_a_wrong_body_names_its_field(rest: RestClient, body, field):
    assert wrong_fields(await rest.http.post("/orders", json=body)) == [field]


@pytest.mark.parametrize(("body", "field"), WRONG_BODIES)
async def test_a_wrong_line_names_its_number_and_its_field(rest: RestClient, body, field):
    lines = f"{json.dumps(TEA)}\n\n{json.dumps(body)}\n"
    assert wrong_fields(await rest.http.post("/orders:import", content=lines)) == [f"1.{field}"]


@pytest.mark.parametrize("line", [b"{", b"[]", b"null", b"\xff", b'{"sku": "tea"} {}'])
async def test_a_line_that_is_no_object_names_its_number(rest: RestClient, line):
    assert wrong_fields(await rest.http.post("/orders:import", content=line)) == ["0"]
    assert wrong_fields(await rest.http.post("/orders:quote", content=line)) == ["0"]


async def test_a_whole_number_may_be_written_with_a_point(rest: RestClient):
    answer = await rest.http.post("/orders", json=TEA | {"quantity": 2.0})
    assert (answer.status_code, answer.text.count('"quantity":2}')) == (201, 1)


async def test_the_last_line_needs_no_end_and_a_line_may_end_as_in_windows(rest: RestClient):
    body = json.dumps(TEA).encode()
    answer = await rest.http.post("/orders:import", content=body + b"\r\n" + body)
    assert answer.json() == {"created": 2, "existing": 0}


async def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(rest: RestClient):
    answer = await rest.http.post("/orders:import", content=b" " * 200_000)
    assert answer.json()["code"] == "RESOURCE_EXHAUSTED"


async def test_the_statuses_say_what_happened(rest: RestClient):
    created = await rest.http.post("/orders", json=TEA)
    deleted = await rest.http.delete(f"/orders/{created.json()['id']}")
    assert (created.status_code, deleted.status_code, deleted.content) == (201, 204, b"")


async def test_a_browser_resumes_a_watch_by_the_id_of_the_last_event(rest: RestClient):
    watch = rest.watch_orders()
    begun = await soon(anext(watch))
    await watch.aclose()
    order = await rest.create_order(**TEA)
    headers = {"last-event-id": begun["resume_token"]}
    async with rest.http.stream("GET", "/orders:watch", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        while not (line := await soon(anext(lines))).startswith("data:"):
            pass
        assert json.loads(line.removeprefix("data:")) == order


async def test_a_wrong_last_event_id_is_named(rest: RestClient):
    answer = await rest.http.get("/orders:watch", headers={"last-event-id": "x"})
    assert wrong_fields(answer) == ["last-event-id"]


async def test_a_problem_in_the_midst_of_an_answer_is_its_last_line(ports):
    async with Duplex.post(ports.http, "/v1/orders:quote") as duplex:
        lines = duplex.lines()
        duplex.send(json.dumps(TEA).encode() + b"\n")
        assert json.loads(await anext(lines))["quantity"] == 1
        duplex.send(b"{}\n", end=True)
        problem = json.loads(await anext(lines))
        assert (duplex.status, problem["status"], problem["code"]) == (200, 400, "INVALID_ARGUMENT")
        assert [line async for line in lines] == []


@pytest.mark.parametrize("ratio", [0, 1], ids=["plain", "traced"])
@pytest.mark.parametrize("operation", ["import", "quote"])
async def test_a_caller_who_hangs_up_is_no_fault_of_the_service(
    serving, settings, calls, operation, ratio
):
    path = f"/v1/orders:{operation}"
    sampled = settings.traces.model_copy(update={"sample_ratio": ratio})
    settings = settings.model_copy(update={"traces": sampled})
    async with serving(settings) as ports, Duplex.post(ports.http, path) as duplex:
        duplex.send(json.dumps(TEA).encode() + b"\n")
    [call] = calls
    assert (call.code, call.error) == ("CANCELLED", None)
