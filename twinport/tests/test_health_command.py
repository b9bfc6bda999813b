"""`health`, as a process of its own, against the real service: what a HEALTHCHECK asks."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import sample as package
from sample.settings import Settings
from twinport import Service
from twinport.service.ports import Ports
from twinport.testing.process import options

from support.forking import forked
from support.places import SAMPLE
from support.process import started

NAME = package.__name__


class Said(NamedTuple):
    status: int
    lines: list[str]


async def health(port: int, host: str = "127.0.0.1") -> Said:
    """Run the command with the settings of a service whose management port that is."""
    sets = options({"management.port": port, "management.host": host})
    process = await forked(["-m", NAME, "health", *sets], SAMPLE, os.environ)
    async with asyncio.timeout(60):
        lines, status = await process.stdout.read(), await process.wait()
    return Said(status, lines.decode().splitlines())


async def test_a_service_that_takes_calls_is_ready(ports: Ports):
    for host in ("127.0.0.1", "0.0.0.0", "localhost"):
        assert await health(ports.management, host) == Said(0, ["ready"])


async def test_what_a_service_is_not_ready_for_is_told_in_a_line(
    settings: Settings, serving: Callable[..., Any]
):
    async def lost() -> None:
        raise ConnectionError

    async def built(service: Service, _: Settings) -> None:
        service.check("orders.store", lost)

    async with serving(settings, built) as ports:
        told = f"{NAME}: not ready: not ready, orders.store: ConnectionError"
        assert await health(ports.management) == Said(1, [told])


async def test_a_service_that_stops_is_not_ready():
    async with started(lifecycle__drain="60s", lifecycle__platform_grace="2m") as service:
        ports = await service.ports()
        service.terminate()
        await service.logged("SIGTERM")
        assert await health(ports.management) == Said(1, [f"{NAME}: not ready: stopping"])
        await service.terminate_again()


@asynccontextmanager
async def answering(text: bytes) -> AsyncIterator[int]:
    """Answer whoever asks with `text`; yields the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_where_another_program_listens_or_nobody_there_is_one_line_too():
    for text, told in (
        (b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nno such page", "it answered 404"),
        (b"HTTP/1.1 503 Gone\r\nConnection: close\r\n\r\n[1]", "it answered 503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "127.0.0.1:{}: SSH-2.0-OpenSSH_9.2"),
    ):
        async with answering(text) as port:
            assert await health(port) == Said(1, [f"{NAME}: not ready: {told.format(port)}"])
    refused = f"{NAME}: not ready: 127.0.0.1:{port}: Connection refused"
    assert await health(port) == Said(1, [refused])


async def test_a_port_that_nobody_can_know_is_told():
    told = f"{NAME}: management.port is 0, any free one: nobody can know which"
    assert await health(0) == Said(1, [told])
