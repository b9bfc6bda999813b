"""Without a free file descriptor probes are answered, and the log says why nobody else is."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from twinport.lifecycle.open_files import KEPT
from twinport.logs.capture import loop_handler
from twinport.testing.process import records_of

from support.process import TIMEOUT_S, Service, started

FILES = 80  # of which the service has some thirty
LIMITED = f"""
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))
runpy.run_module("sample", run_name="__main__")
"""
SAID = "no file descriptor is free"
PATIENT = {"http__limits__header_time": "10m", "grpc__limits__idle_time": "10m"}


@contextmanager
def connections(port: int) -> Iterator[None]:
    """Hold more silent connections than there are files."""
    with ExitStack() as held:
        for _ in range(FILES):
            held.enter_context(socket.create_connection(("127.0.0.1", port)))
        yield


async def status(port: int, path: str) -> int:
    async with httpx2.AsyncClient(timeout=TIMEOUT_S) as http:
        return (await http.get(f"http://127.0.0.1:{port}{path}")).status_code


@pytest.fixture
async def limited(tmp_path: Path) -> AsyncIterator[Service]:
    program = tmp_path / "limited.py"
    program.write_text(LIMITED)
    async with started(str(program), **PATIENT) as service:
        yield service


@pytest.mark.parametrize("crowded", ["http", "grpc"])
async def test_probes_are_answered_without_a_free_descriptor_and_the_log_says_it(
    limited: Service, crowded: str
):
    ports = await limited.ports()
    with connections(getattr(ports, crowded)):
        line = await limited.logged(SAID)
        for _ in range(KEPT + 1):  # what is kept for them comes back
            assert await status(ports.management, "/livez") == 200
            assert await status(ports.management, "/readyz") == 200
    assert line["log.level"] == "warning"
    await is_served(ports.http)
    limited.terminate()
    assert await limited.exit_status() == 0
    assert {each["log.level"] for each in limited.lines} == {"info", "warning"}
    assert len(records_of(SAID, limited.lines)) <= 2  # one a minute


async def is_served(port: int) -> None:
    """Wait until the service has noticed that others have gone."""
    async with asyncio.timeout(TIMEOUT_S):
        while not await answers(port):
            """The connections that have gone are still open here."""


async def answers(port: int) -> bool:
    with suppress(httpx2.TransportError):
        return await status(port, "/v1/orders") == 200
    return False


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "DEBUG"),
        (OSError(errno.ENFILE, "Too many open files in system"), "DEBUG"),
        (OSError(errno.EIO, "Input/output error"), "ERROR"),
        (ValueError("a bug"), "ERROR"),
    ],
)
def test_what_asyncio_says_of_a_full_table_of_files_is_no_error(error: Exception, level: str):
    lines = []
    loop_handler(lines.append)(None, {"message": "socket.accept()", "exception": error})
    assert [line.level for line in lines] == [level]
