"""The process as its operators see it: signals, ports, exit status and one plain line."""

import asyncio
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import grpc
import httpx2
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

import sample as package
from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from twinport.service.ports import Ports

from support.process import TIMEOUT_S, Service, executed, started

ACTIVE = re.compile(r'server_active_calls{kind="\w+"} 1.0')
LINE = b'{"sku": "tea", "quantity": 1}\n'


class Halves:
    """A request of two orders, of which the second waits until it is let go."""

    def __init__(self) -> None:
        self.first_is_sent, self.go_on = asyncio.Event(), asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield LINE
        self.first_is_sent.set()
        await self.go_on.wait()
        yield LINE


async def import_by_rest(ports: Ports, halves: Halves, *, http2: bool) -> int:
    async with httpx2.AsyncClient(http1=not http2, http2=http2, timeout=20) as http:
        url = f"http://127.0.0.1:{ports.http}/v1/orders:import"
        answer = await http.post(url, content=halves)
        created: int = answer.json()["created"]
        return created


async def import_by_http1(ports: Ports, halves: Halves) -> int:
    return await import_by_rest(ports, halves, http2=False)


async def import_by_http2(ports: Ports, halves: Halves) -> int:
    return await import_by_rest(ports, halves, http2=True)


async def import_by_grpc(ports: Ports, halves: Halves) -> int:
    async def requests() -> AsyncIterator[pb.ImportOrdersRequest]:
        async for _ in halves:
            yield pb.ImportOrdersRequest(sku="tea", quantity=1)

    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        answer = await OrderServiceStub(channel).ImportOrders(requests())
        return answer.created


async def under_way(service: Service, halves: Halves) -> None:
    """Wait until the service works on the call: what is sent may still be on its way."""
    await halves.first_is_sent.wait()
    metrics = f"http://127.0.0.1:{(await service.ports()).management}/metrics"
    async with asyncio.timeout(TIMEOUT_S), httpx2.AsyncClient() as http:
        while not ACTIVE.search((await http.get(metrics)).text):
            pass


IMPORTS = [import_by_http1, import_by_http2, import_by_grpc]
Import = Callable[[Ports, Halves], Awaitable[int]]


@pytest.mark.parametrize("importing", IMPORTS)
async def test_a_call_under_way_finishes_after_sigterm(importing: Import):
    async with started() as service:
        halves = Halves()
        call = asyncio.ensure_future(importing(await service.ports(), halves))
        await under_way(service, halves)
        service.terminate()
        await service.logged("SIGTERM")
        halves.go_on.set()
        assert await call == 2
        assert await service.exit_status() == 0


@pytest.mark.parametrize("importing", IMPORTS)
async def test_a_second_signal_skips_the_waits(importing: Import):
    async with started(lifecycle__grace="20s", lifecycle__drain="3s") as service:
        halves = Halves()
        call = asyncio.ensure_future(importing(await service.ports(), halves))
        await under_way(service, halves)
        service.terminate()
        await service.logged("SIGTERM: stopping")
        await service.terminate_again()
        assert await service.exit_status() == 0
        halves.go_on.set()  # a client over HTTP notices the end when it sends the next line
        with pytest.raises((grpc.aio.AioRpcError, httpx2.HTTPError, KeyError)):
            await call


async def test_a_signal_that_is_told_twice_is_one_wish():
    async with started(lifecycle__grace="20s") as service:
        halves = Halves()
        call = asyncio.ensure_future(import_by_grpc(await service.ports(), halves))
        await under_way(service, halves)
        for number in (signal.SIGINT, signal.SIGTERM):  # a terminal, and what runs in it
            service.process.send_signal(number)
        await service.logged("SIG")
        assert await status(livez(await service.ports())) == 200  # both have come
        halves.go_on.set()
        assert await call == 2
        assert await service.exit_status() == 0


@pytest.mark.parametrize("importing", IMPORTS)
async def test_a_call_that_outlives_the_grace_is_cut(importing: Import):
    async with started(lifecycle__grace="300ms") as service:
        call = asyncio.ensure_future(importing(await service.ports(), halves := Halves()))
        await under_way(service, halves)
        service.terminate()
        assert await service.exit_status() == 0
        halves.go_on.set()  # a client over HTTP notices the end when it sends the next line
        with pytest.raises((grpc.aio.AioRpcError, httpx2.HTTPError, KeyError)):
            await call


@pytest.mark.parametrize("section", ["http", "grpc", "management"])
async def test_a_taken_port_is_one_plain_line_and_exit_1(section: str):
    with socket.create_server(("127.0.0.1", 0)) as rival:
        port = str(rival.getsockname()[1])
        async with started(**{f"{section}__port": port}) as service:
            assert await service.exit_status() == 1
            assert service.lines == []
            (line,) = service.plain
            assert line.endswith(f": {section}.port: 127.0.0.1:{port}: Address already in use")


@pytest.mark.parametrize("server", ["uvicorn", "granian"])  # granian would share it
async def test_no_server_shares_a_port_that_is_taken(server: str):
    async with started(http__server=server) as first:
        port = str((await first.ports()).http)
        async with started(http__server=server, http__port=port) as second:
            assert await second.exit_status() == 1
            (line,) = second.plain
            assert line.endswith(f": http.port: 127.0.0.1:{port}: Address already in use")


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])  # granian's own have no ids
async def test_a_refusal_before_there_is_a_call_is_found_in_the_log(server: str):
    async with started(http__server=server) as service:
        port = (await service.ports()).http
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"no request\r\n\r\n")
        answer = (await reader.read()).decode()
        line = await service.logged("refused with 400 before it was a call, from 127.0.0.1:")
        writer.close()
    assert answer.startswith("HTTP/1.1 400")
    assert f"x-trace-id: {line['trace.id']}\r\n" in answer


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process itself may have as many files open as it likes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def with_few_files(arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Process:
    """Run `python ARGUMENTS`, which may have few files open until it asks for more."""
    limited = ("sh", "-c", 'ulimit -Sn 128; exec "$@"', "sh", sys.executable)
    return await asyncio.create_subprocess_exec(
        *limited, *arguments, cwd=cwd, env=env, stdout=PIPE, stderr=STDOUT
    )


async def test_the_soft_limit_of_open_files_does_not_count(many_files: None):
    async with started(start=with_few_files) as service:
        ports = await service.ports()
        opening = (asyncio.open_connection("127.0.0.1", ports.http) for _ in range(300))
        wires = await asyncio.gather(*opening)
        for url in (f"http://127.0.0.1:{ports.http}/v1/orders", livez(ports)):
            assert await status(url) == 200
        for _, writer in wires:
            writer.transport.abort()


def livez(ports: Ports) -> str:
    return f"http://127.0.0.1:{ports.management}/livez"


async def status(url: str) -> int:
    async with httpx2.AsyncClient() as http:
        return (await http.get(url)).status_code


async def test_readiness_turns_false_first_while_calls_are_still_served():
    async with started(lifecycle__drain="20s") as service:
        ports = await service.ports()
        async with (
            httpx2.AsyncClient() as http,
            grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
        ):
            watch = HealthStub(channel).Watch(HealthCheckRequest())
            assert (await watch.read()).status == HealthCheckResponse.SERVING
            ready = f"http://127.0.0.1:{ports.management}/readyz"
            assert (await http.get(ready)).status_code == 200
            service.terminate()
            assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
            answer = await http.get(ready)
            assert (answer.status_code, answer.json()["status"]) == (503, "stopping")
            assert (await http.get(f"http://127.0.0.1:{ports.http}/v1/orders")).status_code == 200
            assert (await OrderServiceStub(channel).ListOrders(pb.ListOrdersRequest())).orders == []
            await service.terminate_again()
            assert await service.exit_status() == 0


async def test_open_streams_and_idle_connections_do_not_delay_the_stop():
    async with started(lifecycle__grace="20s") as service:
        ports = await service.ports()
        url = f"http://127.0.0.1:{ports.http}/v1/orders"
        async with (
            httpx2.AsyncClient() as old,
            httpx2.AsyncClient(http1=False, http2=True) as new,
            grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
            new.stream("GET", f"{url}:watch") as stream,
        ):
            await old.get(url)
            events = stream.aiter_lines()
            await anext(events)
            health = HealthStub(channel).Watch(HealthCheckRequest())
            await health.read()
            orders = OrderServiceStub(channel).WatchOrders(pb.WatchOrdersRequest())
            await orders.read()
            service.terminate()
            assert await service.exit_status() == 0  # well before the grace is over
            assert await orders.read() == grpc.aio.EOF
            assert not [line async for line in events if line.startswith("data:")]


SLOW = """
import json, sys, time

class Slow:
    def find_spec(self, name, *rest):
        if name == "fastapi":
            print(json.dumps({"message": "importing"}), flush=True)
            sleep()

def sleep():
    try:
        time.sleep(600)
    except KeyboardInterrupt:  # as where an exception cannot be raised
        sleep()

sys.meta_path.insert(0, Slow())
"""


@pytest.fixture(params=["module", "command"])
def importing(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Sequence[str]:
    """Return how to start the service; one of its imports takes very long."""
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = tmp_path / package.__name__.replace("_", "-")
    command.write_text(f"from {package.__name__}.__main__ import main\nmain()\n")
    return ("-m", package.__name__) if request.param == "module" else (str(command),)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_during_the_imports_ends_them(
    importing: Sequence[str], number: signal.Signals
):
    async with started(*importing, start=executed) as service:
        await service.logged("importing")
        service.process.send_signal(number)
        assert await service.exit_status() == -number
        assert service.plain == []


IN_A_CONTAINER = ("unshare", "--pid", "--fork", "--kill-child")


@pytest.fixture(scope="module")
def container() -> None:
    command = [*IN_A_CONTAINER, "true"]
    if shutil.which("unshare") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("this system lets nobody be PID 1 of a namespace")


def only_child(parent: int) -> int:
    return int(Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="utf-8"))


async def contained(arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Process:
    return await asyncio.create_subprocess_exec(
        *IN_A_CONTAINER, sys.executable, *arguments, cwd=cwd, env=env, stdout=PIPE, stderr=STDOUT
    )


@pytest.mark.usefixtures("container")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_does_so_as_pid_1_of_a_container(importing: Sequence[str], number: signal.Signals):
    async with started(*importing, start=contained) as service:
        await service.logged("importing")
        os.kill(only_child(service.process.pid), number)
        assert await service.exit_status() == 128 + number
        assert service.plain == []


async def test_sigterm_while_starting_or_idle_is_exit_0():
    async with started(start=executed) as service:
        await service.ports()
        service.terminate()
        assert await service.exit_status() == 0
        assert service.plain == []
