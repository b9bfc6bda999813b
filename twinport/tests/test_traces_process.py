"""Traces of the service as a process of its own."""

import socket
from datetime import datetime
from typing import Any

import httpx2
import pytest

from sample.orders.domain import Orders
from twinport.service.ports import Ports
from twinport.testing import FakeZipkin
from twinport.traces.http_exporters import TIMEOUT_S

from support.process import Service, executed, started


def when(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["@timestamp"])


async def served(service: Service, path: str = "/v1/orders", status: int = 200) -> Ports:
    """Wait for the service and ask it something."""
    ports = await service.ports()
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}") as http:
        assert (await http.get(path)).status_code == status
    return ports


@pytest.mark.parametrize("is_holding", [False, True], ids=["there", "black hole"])
async def test_the_exit_waits_for_spans_no_longer_than_flush(is_holding):
    with FakeZipkin() as collector:
        if is_holding:
            collector.hold()
        chosen = {
            "traces__exporter": "zipkin",
            "traces__endpoint": collector.endpoint,
            "lifecycle__flush": "200ms" if is_holding else "20s",
            "lifecycle__platform_grace": "1m",
            "service__environment": "test",  # in development nobody minds
        }
        async with started(**chosen) as service:
            await served(service)
            service.terminate()
            assert await service.exit_status() == 0
        took = when(service.lines[-1]) - when(await service.logged("SIGTERM"))
        assert took.total_seconds() < TIMEOUT_S  # of one attempt, for which it does not wait
        assert len(collector.spans) == (0 if is_holding else 1)
    lost = [line for line in service.lines if "did not reach" in line["message"]]
    assert len(lost) == is_holding


async def test_the_terminal_shows_each_trace(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with started(traces__exporter="console") as service:
        await served(service)
        service.terminate()
        assert await service.exit_status() == 0
    title, *branches = [line for line in service.plain if line]
    assert title.startswith("trace ")
    assert branches[0].startswith("└─ GET /v1/orders  ")
    assert branches[0].endswith("server 200")


@pytest.mark.parametrize("name", ["sdk_tracer_provider", "no-such-provider"])
async def test_a_provider_that_a_variable_names_does_not_take_the_place_of_ours(monkeypatch, name):
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", name)
    with FakeZipkin() as collector:
        chosen = {
            "traces__exporter": "zipkin",
            "traces__endpoint": collector.endpoint,
            "traces__functions": f'["{Orders.__module__}"]',
        }
        async with started(start=executed, **chosen) as service:
            await served(service)
            service.terminate()
            assert await service.exit_status() == 0
        spans = {"GET /v1/orders", "Orders.list", "Orders.end_watches"}
        assert {span["name"] for span in collector.spans} == spans
    assert "OTEL_PYTHON_TRACER_PROVIDER" in (await service.logged("traces: set, but"))["message"]


async def test_what_the_settings_of_logs_mask_is_masked_in_spans_too():
    with FakeZipkin() as collector:
        chosen = {
            "traces__exporter": "zipkin",
            "traces__endpoint": collector.endpoint,
            "logs__redact__patterns": '["customer-[0-9]+"]',
        }
        async with started(**chosen) as service:
            await served(service, "/v1/orders/customer-4711", 404)
            service.terminate()
            assert await service.exit_status() == 0
        (span,) = collector.spans
    assert span["tags"]["url.path"] == "/v1/orders/[redacted]"


async def test_a_wrong_module_is_a_line_and_status_1():
    async with started(traces__functions='["no.such.module"]') as service:
        assert await service.exit_status() == 1
    assert len(service.plain) == 1
    assert "traces.functions: 'no.such.module'" in service.plain[0]


async def test_a_developer_without_a_backend_reads_one_line_that_helps():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}/api/v2/spans"
    async with started(traces__exporter="zipkin", traces__endpoint=endpoint) as service:
        await served(service)
        line = await service.logged("traces: ")
        await served(service)
        service.terminate()
        assert await service.exit_status() == 0
    assert endpoint in line["message"]
    assert "--set traces.exporter=console" in line["message"]
    said = [said for said in service.lines if said["log.level"] != "info"]
    assert [one for one in said if "loop was blocked" not in one["message"]] == [line]
    assert service.plain == []
