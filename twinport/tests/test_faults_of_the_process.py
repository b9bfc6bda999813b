"""What the process does when a part of it fails: it stops in order, says why, and always ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from support.places import SUPPORT
from support.process import Service, started

FAULTY = str(SUPPORT / "faulty.py")


def messages(service) -> list[str]:
    return [line["message"] for line in service.lines]


async def test_a_background_task_that_dies_stops_the_service_in_order():
    async with started(FAULTY, "dies_in_background") as service:
        assert await service.exit_status() == 1
        assert "stopped" in messages(service)
        (line,) = service.plain
        assert line.endswith("background task 'poll' died: ConnectionError")


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("loses_http", "the http server died: ConnectionError"),
        ("loses_grpc", "the grpc server ended by itself"),
    ],
)
async def test_a_server_that_dies_stops_the_others_in_order(fault: str, cause: str):
    async with started(FAULTY, fault) as service:
        assert await service.exit_status() == 1
        assert "stopped" in messages(service)
        (line,) = service.plain
        assert line.endswith(f": {cause}")


async def test_a_failing_start_closes_what_was_open_and_is_one_plain_line():
    async with started(FAULTY, "cannot_open") as service:
        assert await service.exit_status() == 1
        assert messages(service)[:4] == [
            "first opened",
            "second opened",
            "second closed",
            "first closed",
        ]
        (line,) = service.plain
        assert line.endswith("cannot start: ConnectionError, see the log")
        assert "secret-dsn" not in line


async def test_sigterm_while_starting_closes_what_was_open():
    async with started(FAULTY, "opens_for_ever") as service:
        await service.logged("first opened")
        service.terminate()
        assert await service.exit_status() == 0
        assert messages(service)[-1] == "first closed"


async def test_a_resource_that_does_not_close_is_named_and_the_process_ends():
    waits = {"lifecycle__grace": "100ms", "lifecycle__flush": "100ms"}
    async with started(FAULTY, "closes_for_ever", **waits) as service:
        await service.ports()
        service.terminate()
        assert await service.exit_status() == 1
        (line,) = service.plain
        assert "did not stop in time, still running: resources" in line


async def test_a_handler_that_swallows_its_cancelling_is_named_and_the_process_ends():
    async with blocked("swallows_its_cancelling", "holding", lifecycle__grace="100ms") as service:
        service.terminate()
        assert await service.exit_status() == 1
        assert "did not stop in time, still running" in service.plain[-1]
        assert "GET /fault" in service.plain[-1]


async def test_so_is_a_method_over_grpc():
    waits = {"lifecycle__grace": "100ms", "lifecycle__flush": "100ms"}
    async with started(FAULTY, "swallows_its_cancelling_over_grpc", **waits) as service:
        ports = await service.ports()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
            call = channel.unary_unary("/fault.Fault/Hold")(b"")
            await service.logged("holding")
            service.terminate()
            assert await service.exit_status() == 1
            call.cancel()
        assert "did not stop in time, still running" in service.plain[-1]
        assert "fault.Fault/Hold" in service.plain[-1]


async def test_a_blocked_loop_cannot_keep_the_process_alive():
    waits = {"lifecycle__grace": "100ms", "lifecycle__flush": "100ms"}
    async with started(FAULTY, "blocks_at_the_end", **waits) as service:
        await service.ports()
        service.terminate()
        assert await service.exit_status() == 1
        assert "still running: calls" in service.plain[0]


@asynccontextmanager
async def blocked(fault: str, doing: str, **chosen: str) -> AsyncIterator[Service]:
    """Start a service, one call of which blocks its loop by now."""
    async with started(FAULTY, fault, lifecycle__flush="100ms", **chosen) as service:
        ports = await service.ports()
        _, writer = await asyncio.open_connection("127.0.0.1", ports.http)
        writer.write(b"GET /fault HTTP/1.1\r\nhost: here\r\n\r\n")
        await service.logged(doing)
        yield service
        writer.close()


BLOCKS = [("sleeps_in_a_call", "sleeping"), ("computes_in_a_call", "computing")]
CUT = "did not stop in time, still running: serve (GET /fault), while the event loop is blocked:"


@pytest.mark.parametrize(("fault", "doing"), BLOCKS)
async def test_a_call_that_blocks_the_loop_cannot_keep_the_process_alive(fault: str, doing: str):
    async with blocked(fault, doing, lifecycle__grace="100ms") as service:
        service.terminate()
        assert await service.exit_status() == 1
        line, *stack = service.plain
        assert line.endswith(CUT)
        assert any(frame.endswith("in fault") for frame in stack)


async def test_a_call_that_lets_no_thread_run_cannot_keep_the_process_alive():
    async with blocked("matches_in_a_call", "matching", lifecycle__grace="100ms") as service:
        service.terminate()
        assert await service.exit_status() == 1
        assert any(line.endswith("in fault") for line in service.plain)


async def test_a_second_signal_skips_the_waits_also_when_the_loop_is_blocked():
    waits = {"lifecycle__grace": "10m", "lifecycle__platform_grace": "20m"}
    async with blocked("sleeps_in_a_call", "sleeping", **waits) as service:
        service.terminate()
        await service.logged("SIGTERM: stopping")
        await service.terminate_again()
        assert await service.exit_status() == 1
        assert service.plain[0].endswith(CUT)


async def test_a_resource_that_fails_to_close_does_not_keep_others_open():
    async with started(FAULTY, "closes_badly") as service:
        await service.ports()
        service.terminate()
        assert await service.exit_status() == 1
        assert "first closed" in messages(service)
        (line,) = service.plain
        assert line.endswith("cannot stop in order: OSError, see the log")


async def test_what_blocks_the_loop_is_said_with_its_stack_while_it_does():
    async with started(FAULTY, "blocks_the_loop") as service:
        line = await service.logged("the event loop is blocked")
        assert line["log.level"] == "warning"
        service.terminate()
        assert await service.exit_status() == 0
