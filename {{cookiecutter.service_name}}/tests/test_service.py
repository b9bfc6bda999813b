"""The service as a process, as its operators and its callers first meet it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from twinport.testing import LocalService, Running, openapi_gaps, running

import {{ cookiecutter.__package }} as package
from {{ cookiecutter.__package }} import app

HOME = Path(__file__).parents[1]


@pytest.fixture
def process(required: dict[str, object], build: object) -> Iterator[Running]:
    if build is not app.build:
        pytest.skip("a process wires app.build, which these tests go without")
    with running([sys.executable, "-m", package.__name__, "run"], HOME, required) as process:
        yield process


def test_it_starts_answers_on_every_port_and_stops_at_sigterm(process: Running):
    ports = process.ports()
    assert read(ports.management, "/readyz")["status"] == "ok"
    assert read(ports.http, "/openapi.json")["info"]["title"] == read_name(process)
    with grpc.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        health = HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert process.stop() == 0
    assert process.lines[-1]["message"] == "stopped"


def read(port: int, path: str) -> dict:
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return json.load(answer)


def read_name(process: Running) -> str:
    return process.lines[0]["service.name"]


async def test_app_py_says_of_each_operation_who_may_call_it(service: LocalService):
    assert service.closed == []  # else: `service.allow`, and PUBLIC where everybody may


async def test_the_page_of_the_rest_api_tells_a_caller_all_there_is_to_know(service: LocalService):
    document = await service.rest.get("/openapi.json")
    assert openapi_gaps(document.json()) == []
