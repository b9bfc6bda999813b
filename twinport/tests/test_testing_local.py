"""A service in the process of its tests: the fixtures that a team gets, and what they tell."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from loguru import logger
from pydantic import Field, ValidationError

import twinport
from sample.app import build
from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from sample.settings import Settings
from twinport import Service, span, testing
from twinport.testing import LocalService

TEA = {"sku": "tea", "quantity": 1}
EVERY_SPAN = {"traces.sample_ratio": 1.0}

CONFTEST = """
import pytest
from sample import app
from sample.settings import Settings
from twinport.testing import free

@pytest.fixture
def settings():
    return free(Settings, {"orders.page_size": 2})

@pytest.fixture
def build():
    return app.build
"""
TESTS = """
import pytest

async def test_it_answers(service):
    assert (await service.rest.get("/v1/orders")).json()["orders"] == []

async def test_a_test_may_have_another_wiring(serving):
    async def nothing(service, settings):
        assert settings.orders.page_size == 2
    async with serving(build=nothing) as service:
        assert (await service.rest.get("/v1/orders")).status_code == 404
"""


async def traced(service: Service, settings: Settings) -> None:
    await build(service, settings)

    @service.rest.get("/look")
    async def look() -> None:
        with span("look it up"):
            logger.bind(shelf=7).info("looking")


async def test_what_a_service_told_can_be_read_after_the_call() -> None:
    async with testing.serving(testing.free(Settings, EVERY_SPAN), traced) as service:
        await service.rest.get("/look", headers={"x-request-id": "mine"})
        [call] = await service.ended_calls()
    said, access = service.lines
    assert (call.route, call.code, call.request_id) == ("/look", "OK", "mine")
    assert [each.name for each in service.spans] == ["look it up", "GET /look"]
    assert (said["message"], said["labels"]) == ("looking", {"shelf": 7})
    assert access["message"] == "GET /look 200"
    assert {line["trace.id"] for line in service.lines} == {call.trace_id}
    assert {line["service.name"] for line in service.lines} == {"sample"}


async def test_both_clients_reach_the_service() -> None:
    async with testing.serving(testing.free(Settings), build) as service:
        created = await service.rest.post("/v1/orders", json=TEA)
        found = await OrderServiceStub(service.rpc).GetOrder(
            pb.GetOrderRequest(id=created.json()["id"])
        )
        calls = await service.ended_calls(2)
    assert found.order.sku == "tea"
    assert [call.transport for call in calls] == ["http", "grpc"]


async def test_operations_of_which_nobody_says_who_may_call_them_are_known() -> None:
    async with testing.serving(testing.free(Settings), build) as service:
        assert service.closed == []
    async with testing.serving(testing.free(Settings), traced) as service:
        assert service.closed == ["look"]


async def test_several_services_run_at_once_and_each_tells_of_its_own_calls() -> None:
    settings = testing.free(Settings)
    async with testing.serving(settings, build) as one, testing.serving(settings, build) as other:
        await one.rest.get("/v1/orders")
        await one.ended_calls()
    assert (len(one.calls), len(other.calls)) == (1, 0)


async def test_a_failed_start_leaves_no_handler_behind() -> None:
    async def fails(service: Service, settings: Settings) -> None:
        raise OSError("no database")

    with pytest.raises(OSError, match="no database"):
        async with testing.serving(testing.free(Settings), fails):
            pass
    async with testing.serving(testing.free(Settings), build) as service:
        logger.info("once")
    assert [line["message"] for line in service.lines] == ["once"]


class Required(twinport.Section):
    """Of a team, and without a default."""

    database: str
    """Where it is."""


class OwnSettings(twinport.Settings):
    """As a team has them."""

    shop: Required
    """The shop."""
    limits: dict[str, int] = Field(default_factory=lambda: {"a": 1})
    """Numbers."""


def test_a_setting_without_a_default_is_said_by_the_tests() -> None:
    settings = testing.free(OwnSettings, {"shop.database": "memory", "limits": {"b": 2}})
    assert (settings.shop.database, settings.limits) == ("memory", {"b": 2})
    with pytest.raises(ValidationError, match="shop"):
        testing.free(OwnSettings)


def test_a_table_is_merged_into_what_tests_need() -> None:
    settings = testing.free(Settings, {"http": {"server": "uvicorn"}, "grpc.host": "::1"})
    assert (settings.http.server, settings.http.port) == ("uvicorn", 0)
    assert (settings.grpc.host, settings.grpc.port) == ("::1", 0)


def pytest_in(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *options,
        str(folder),
    ]
    environment = testing.own_environment() | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_two_fixtures_are_all_that_a_team_writes(tmp_path: Path, mode: str) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    marked = "pytestmark = pytest.mark.asyncio\n" if mode == "strict" else ""
    (tmp_path / "test_it.py").write_text(f"{TESTS}\n{marked}")
    done = pytest_in(tmp_path, "-o", f"asyncio_mode={mode}")
    assert "2 passed" in done.stdout, done.stdout


LIGHT = """
import sys
import twinport.testing.plugin
print(sorted({"loguru", "fastapi", "grpc", "opentelemetry", "pytest_asyncio"} & {*sys.modules}))
"""


def test_the_plugin_costs_those_nothing_who_do_not_use_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout == "['pytest_asyncio']\n"


async def test_an_answer_reads_the_same_over_both_transports(serving: Any) -> None:
    async with testing.serving(testing.free(Settings), build) as service:
        rest, rpc = await refusals(service)
        assert rest == rpc
        assert (rest.code, {name for name, _ in rest.fields}) == ("INVALID_ARGUMENT", {"quantity"})


async def refusals(service: LocalService) -> list[testing.Refusal]:
    wrong = TEA | {"quantity": 0}
    stub = OrderServiceStub(service.rpc)
    with pytest.raises(testing.RefusedError) as by_rest:
        testing.rest_answer(await service.rest.post("/v1/orders", json=wrong))
    with pytest.raises(testing.RefusedError) as by_rpc:
        await testing.rpc_answer(stub.CreateOrder(pb.CreateOrderRequest(**wrong)))
    return [by_rest.value.refusal, by_rpc.value.refusal]
