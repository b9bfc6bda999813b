"""Children of the service: what they are told and what they hold is theirs alone."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import httpx2
import pytest

from twinport.testing import free_port

from support.places import SUPPORT
from support.process import TIMEOUT_S, Service, started

PARENTING = str(SUPPORT / "parenting.py")
TERMINATED = -signal.SIGTERM
TOLD = [
    ("process", TERMINATED),
    ("pool", [0, 1, 2, 3]),
    ("subprocess", TERMINATED),
    ("subprocess/async", TERMINATED),
]


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with started(PARENTING) as service:
        yield service


async def asked(service: Service, path: str) -> object:
    async with httpx2.AsyncClient(timeout=TIMEOUT_S) as http:
        url = f"http://127.0.0.1:{(await service.ports()).http}/{path}"
        return (await http.get(url)).json()


@pytest.mark.parametrize(("path", "answer"), TOLD)
async def test_ending_a_child_does_not_end_the_service(service, path: str, answer: object):
    assert [await asked(service, path) for _ in range(3)] == [answer] * 3
    assert [line for line in service.lines if "stopping" in line["message"]] == []
    service.terminate()
    assert await service.exit_status() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
async def test_a_signal_to_a_child_is_not_one_to_the_service(service, number: signal.Signals):
    child = await asked(service, "fork")
    os.kill(child, number)
    assert await asked(service, f"wait/{child}") == -number
    heard = ("SIGINT", "SIGTERM", "SIGHUP", "stacks")
    assert [line for line in service.lines if line["message"].startswith(heard)] == []


async def test_a_child_that_outlives_the_service_keeps_no_port():
    names = ("http", "grpc", "management")
    ports = {f"{name}__port": str(free_port()) for name in names}
    async with started(PARENTING, **ports) as first:
        child = await asked(first, "fork")
        first.process.kill()
        await first.process.wait()
        async with started(PARENTING, **ports) as second:
            await second.ports()
        os.kill(child, signal.SIGKILL)


async def test_a_child_keeps_no_connection_of_the_service_open():
    async with started(PARENTING) as service:
        ports = await service.ports()
        reader, writer = await asyncio.open_connection("127.0.0.1", ports.http)
        writer.write(b"GET /fork HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(TIMEOUT_S):
            answer = await reader.read()
        os.kill(int(answer.split()[-1]), signal.SIGKILL)
        writer.close()
