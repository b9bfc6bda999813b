"""What each error is on both transports, and what logs, spans and metrics make of it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from http.client import responses
from typing import Any, NamedTuple

import grpc
import httpx2
import pytest
from google.rpc import code_pb2
from prometheus_client.parser import text_string_to_metric_families
from starlette.exceptions import HTTPException

from sample.settings import Settings
from twinport import Service
from twinport.calls import Call
from twinport.clients.outgoing_call import ClientCall, log
from twinport.errors import CODES, ERRORS, InternalError, OverloadedError, ServiceError
from twinport.logs import LogsSettings, logging_to
from twinport.service.ports import Ports
from twinport.settings import Identity
from twinport.testing import FakeZipkin
from twinport.traces import TracesSettings

REST_DURATION, RPC_DURATION = (
    "http_server_request_duration_seconds",
    "rpc_server_call_duration_seconds",
)
SAMPLED = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


class Row(NamedTuple):
    """What is seen of a code: HTTP's status, the levels, and event.outcome on both transports."""

    code: str
    status: int
    level: str
    client_level: str
    by_rest: str
    by_rpc: str


TABLE = [
    Row("CANCELLED", 499, "info", "debug", "unknown", "unknown"),
    Row("UNKNOWN", 500, "error", "warning", "failure", "failure"),
    Row("INVALID_ARGUMENT", 400, "info", "debug", "success", "success"),
    Row("DEADLINE_EXCEEDED", 504, "warning", "warning", "failure", "failure"),
    Row("NOT_FOUND", 404, "info", "debug", "success", "success"),
    Row("ALREADY_EXISTS", 409, "info", "debug", "success", "success"),
    Row("PERMISSION_DENIED", 403, "info", "warning", "success", "success"),
    Row("UNAUTHENTICATED", 401, "info", "warning", "success", "success"),
    Row("RESOURCE_EXHAUSTED", 429, "warning", "warning", "success", "success"),
    Row("RESOURCE_EXHAUSTED", 503, "warning", "warning", "failure", "success"),
    Row("FAILED_PRECONDITION", 400, "info", "debug", "success", "success"),
    Row("ABORTED", 409, "info", "debug", "success", "success"),
    Row("OUT_OF_RANGE", 400, "info", "debug", "success", "success"),
    Row("UNIMPLEMENTED", 501, "info", "warning", "failure", "failure"),
    Row("INTERNAL", 500, "error", "warning", "failure", "failure"),
    Row("UNAVAILABLE", 503, "warning", "warning", "failure", "failure"),
    Row("DATA_LOSS", 500, "error", "warning", "failure", "failure"),
]


class Refusal(NamedTuple):
    """What is seen of a status that the framework itself, or a feature by it, answers."""

    status: int
    code: str
    level: str
    outcome: str


REFUSALS = [
    Refusal(405, "UNIMPLEMENTED", "info", "success"),
    Refusal(408, "DEADLINE_EXCEEDED", "warning", "success"),
    Refusal(413, "RESOURCE_EXHAUSTED", "warning", "success"),
    Refusal(418, "FAILED_PRECONDITION", "info", "success"),
    Refusal(431, "RESOURCE_EXHAUSTED", "warning", "success"),
    Refusal(500, "INTERNAL", "error", "failure"),
    Refusal(502, "INTERNAL", "error", "failure"),
    Refusal(503, "UNAVAILABLE", "warning", "failure"),
    Refusal(505, "UNIMPLEMENTED", "info", "failure"),
]

Served = Callable[[Any], Any]


def error_of(row: Row) -> ServiceError:
    """Return an error of that code, also of one that has no class."""
    error = OverloadedError() if row.status == OverloadedError.status else ServiceError()
    vars(error).update(code=row.code, status=row.status)
    return error


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeZipkin]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    with FakeZipkin() as collector:
        yield collector


@pytest.fixture
def served(serving: Any, settings: Settings, collector: FakeZipkin) -> Served:
    """Serve what raises an error in each call, with its spans on their way to the collector."""

    def served(error: Exception) -> Any:
        async def fail(*_: object) -> Any:
            raise error

        async def built(service: Service, settings: Settings) -> None:
            service.rest.get("/failing")(_without_parameters(fail))
            service.rpc.add(_add_failing, fail)

        traces = TracesSettings(endpoint=collector.endpoint)
        return serving(settings.model_copy(update={"traces": traces}), built)

    return served


def _without_parameters(fail: Any) -> Any:
    async def failing() -> None:
        await fail()

    return failing


def _add_failing(fail: Any, server: Any) -> None:
    handler = grpc.unary_unary_rpc_method_handler(fail)
    server.add_registered_method_handlers("Failing", {"Call": handler})


async def over_rest(ports: Ports) -> httpx2.Response:
    async with httpx2.AsyncClient() as http:
        return await http.get(f"http://127.0.0.1:{ports.http}/failing", headers=SAMPLED)


async def over_rpc(ports: Ports) -> str:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/Failing/Call")(b"", metadata=tuple(SAMPLED.items()))
    return str(caught.value.code().name)


def logged(call: Call, capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the line that a call leaves."""
    capfd.readouterr()
    with logging_to(LogsSettings(), Identity(name="tea", version="1")) as logs:
        logs.access(call)
    (line,) = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    return dict(line)


async def span_of(collector: FakeZipkin, call: Call) -> dict[str, Any]:
    def arrived(spans: list[dict[str, Any]]) -> bool:
        return any(span["id"] == call.span_id for span in spans)

    spans = await asyncio.to_thread(collector.wait_for, arrived)
    return next(span for span in spans if span["id"] == call.span_id)


async def labels(ports: Ports, family: str, name: str) -> list[str]:
    """Return the values of a label in all that is counted."""
    async with httpx2.AsyncClient() as http:
        text = (await http.get(f"http://127.0.0.1:{ports.management}/metrics")).text
    families = {each.name: each for each in text_string_to_metric_families(text)}
    return [s.labels[name] for s in families[family].samples if s.name.endswith("_count")]


def agree(line: dict[str, Any], span: dict[str, Any], outcome: str) -> None:
    assert line["event.outcome"] == outcome
    assert ("error" in span["tags"]) is (outcome == "failure")
    assert ("error.type" in span["tags"]) is (outcome == "failure")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.code}-{row.status}")
async def test_an_error_is_the_same_to_every_observer_of_rest(
    served: Served, collector: FakeZipkin, calls: list[Call], capfd: Any, row: Row
):
    async with served(error_of(row)) as ports:
        answer = await over_rest(ports)
        counted = await labels(ports, REST_DURATION, "http_response_status_code")
        span = await span_of(collector, calls[0])
    assert (answer.status_code, answer.json()["code"]) == (row.status, row.code)
    assert answer.json()["title"] == responses.get(row.status, row.code)
    assert counted == [str(row.status)]
    line = logged(calls[0], capfd)
    assert (line["event.code"], line["log.level"]) == (row.code, row.level)
    agree(line, span, row.by_rest)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.code}-{row.status}")
async def test_an_error_is_the_same_to_every_observer_of_grpc(
    served: Served, collector: FakeZipkin, calls: list[Call], capfd: Any, row: Row
):
    async with served(error_of(row)) as ports:
        code = await over_rpc(ports)
        counted = await labels(ports, RPC_DURATION, "rpc_response_status_code")
        span = await span_of(collector, calls[0])
    assert (code, counted) == (row.code, [row.code])
    line = logged(calls[0], capfd)
    assert (line["event.code"], line["log.level"]) == (row.code, row.level)
    agree(line, span, row.by_rpc)


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: str(row.status))
async def test_a_refusal_of_the_framework_has_a_code_too(
    served: Served, collector: FakeZipkin, calls: list[Call], capfd: Any, row: Refusal
):
    async with served(HTTPException(row.status)) as ports:
        answer = await over_rest(ports)
        span = await span_of(collector, calls[0])
    assert (answer.status_code, answer.json()["code"]) == (row.status, row.code)
    line = logged(calls[0], capfd)
    assert line["log.level"] == row.level
    agree(line, span, row.outcome)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.code}-{row.status}")
def test_a_call_to_another_service_is_logged_by_how_it_ended(capfd: Any, row: Row):
    call = ClientCall("shop", "grpc", "a.B/C", 1.0, code=row.code)
    with logging_to(LogsSettings(level="DEBUG"), Identity(name="tea", version="1")):
        log(call)
    assert json.loads(capfd.readouterr().err)["log.level"] == row.client_level


def test_the_table_has_each_code_that_there_is():
    assert set(CODES) == set(code_pb2.Code.keys()) == {row.code for row in TABLE} | {"OK"}
    assert set(ERRORS) == set(CODES) - {"OK"}


def test_a_client_raises_the_class_of_a_code_or_what_is_nearest_to_it():
    others = {code: kind.code for code, kind in ERRORS.items() if kind.code != code}
    assert others == {
        "ABORTED": "FAILED_PRECONDITION",
        "CANCELLED": "UNAVAILABLE",
        "OUT_OF_RANGE": "INVALID_ARGUMENT",
        "UNKNOWN": InternalError.code,
        "DATA_LOSS": InternalError.code,
    }


def test_an_error_of_ones_own_has_the_status_of_its_code():
    class StaleError(ServiceError):
        code = "ABORTED"

    class GoneError(ServiceError):
        code, status = "NOT_FOUND", 410

    assert (StaleError.status, GoneError.status) == (409, 410)
