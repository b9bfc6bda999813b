"""What the metrics and the log say when something is lost, or late."""

import asyncio
import socket
import time
from collections.abc import Iterator
from functools import partial

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sample.app import build
from sample.settings import Settings
from twinport import Service
from twinport.service.ports import Ports

from support.process import started

CALLS, QUEUE, FLUSH_S, BLOCKED_S, TIMEOUT_S = 60, 20, 1, 1.0, 60
TIMES = 10  # on a busy machine the loop is late by itself, but not each time


async def metric(ports: Ports, name: str, **labels: str) -> float:
    async with httpx2.AsyncClient() as http:
        text = (await http.get(f"http://127.0.0.1:{ports.management}/metrics")).text
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    (value,) = [each.value for each in samples if (each.name, each.labels) == (name, labels)]
    return value


async def risen(ports: Ports, to: float, name: str, **labels: str) -> float:
    """Return how much was lost, as soon as it is as much as `to`."""
    async with asyncio.timeout(TIMEOUT_S):
        while (value := await metric(ports, name, **labels)) < to:
            pass
    return value


async def call_often(ports: Ports) -> None:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}") as http:
        for _ in range(CALLS):
            assert (await http.get("/v1/orders")).status_code == 200


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, so that nobody else listens there, and refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_a_handler_that_blocks_is_seen_in_the_lag_of_the_loop(serving, settings: Settings):
    async def built(service: Service, settings: Settings) -> None:
        await build(service, settings)

        @service.rest.get("/blocking")
        async def block() -> None:
            asyncio.get_running_loop().call_soon(partial(time.sleep, BLOCKED_S))

    async with serving(settings, built) as ports:
        before = [await metric(ports, "event_loop_lag_seconds") for _ in range(TIMES)]
        async with httpx2.AsyncClient() as http:
            await http.get(f"http://127.0.0.1:{ports.http}/blocking")
        lag = await metric(ports, "event_loop_lag_seconds")
        since = [await metric(ports, "event_loop_lag_seconds") for _ in range(TIMES)]
        assert min(before) < BLOCKED_S / 4 < lag < BLOCKED_S * 10
        assert min(since) < BLOCKED_S / 4


async def test_spans_that_nobody_takes_are_counted_and_said_in_one_line(closed_port, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", str(QUEUE))
    chosen = {
        "traces__exporter": "zipkin",
        "traces__endpoint": f"http://127.0.0.1:{closed_port}/api/v2/spans",
        "traces__sample_ratio": "1.0",
        "lifecycle__flush": f"{FLUSH_S}s",
        "service__environment": "test",  # in development it is another line, and the only one
    }
    async with started(**chosen) as service:
        ports = await service.ports()
        await call_often(ports)
        lost = CALLS - QUEUE  # the oldest ones
        assert await risen(ports, lost, "traces_dropped_spans_total") == lost
        await call_often(ports)
        assert await risen(ports, lost + CALLS, "traces_dropped_spans_total") == lost + CALLS
        said = [line for line in service.lines if line["message"].startswith("traces: zipkin at")]
        assert len(said) == 1  # a minute
        assert said[0]["log.level"] == "warning"
        service.terminate()
        assert await service.exit_status() == 0
    last = [line["message"] for line in service.lines if "did not reach" in line["message"]]
    counted = sum(int(line.split()[1]) for line in last)
    assert counted + dropped_before(said[0]["message"]) == 2 * CALLS


def dropped_before(line: str) -> int:
    """Return how many spans a line about a backend in trouble has told of as dropped."""
    return int(line.partition(" spans dropped")[0].rpartition(" ")[2])


async def test_lines_that_nobody_takes_are_counted(closed_port):
    chosen = {
        "logs__sinks__away__kind": "http",
        "logs__sinks__away__url": f"http://127.0.0.1:{closed_port}/",
        "logs__sinks__away__queue_size": "4KiB",
        "lifecycle__flush": f"{FLUSH_S}s",
    }
    async with started(**chosen) as service:
        ports = await service.ports()
        assert await metric(ports, "logs_dropped_lines_total", sink="away") == 0
        await call_often(ports)
        assert await risen(ports, CALLS / 2, "logs_dropped_lines_total", sink="away") < CALLS + 10
        assert await metric(ports, "logs_dropped_lines_total", sink="console") == 0
