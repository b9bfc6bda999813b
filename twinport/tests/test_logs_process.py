"""What only a process of its own can show: its end, its terminal, and file descriptor 2."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from twinport import logs
from twinport.logs.capture import Relay
from twinport.settings import Identity

PATIENCE_S = 120
START = f"""
import asyncio, ctypes, faulthandler, gc, logging, os, signal, subprocess, sys, threading
from loguru import logger
from {logs.__name__} import LogsSettings, logging_to
from {Identity.__module__} import Identity
def logs_to(**settings):
    return logging_to(LogsSettings.model_validate(settings), Identity(name="tea"))
"""
TO_THE_END = "context = logs_to()\ncontext.__enter__()\n"


def run(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", START + code]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_S)


def lines_of(process: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in process.stderr.splitlines()]


def test_an_exception_that_ends_the_process_comes_through() -> None:
    process = run("with logs_to():\n    raise ValueError('token=abc')")
    line = json.loads(process.stderr.splitlines()[0])
    assert process.returncode == 1
    assert (line["log.level"], line["error.type"]) == ("critical", "ValueError")
    assert "token=[redacted]" in line["error.stack_trace"]


def test_an_interrupt_is_no_error_of_the_log() -> None:
    process = run(
        """
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
with logs_to():
    os.kill(os.getpid(), signal.SIGINT)
"""
    )
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in process.stderr
    assert "@timestamp" not in process.stderr


def test_an_error_that_the_command_line_says_is_not_said_twice() -> None:
    errors = f"from {logs.__name__.rpartition('.')[0]}.errors import StartupError"
    process = run(f"{errors}\nwith logs_to():\n    raise StartupError('http.port is taken')")
    assert "@timestamp" not in process.stderr


def test_a_task_that_nobody_awaits_and_a_finaliser_come_through() -> None:
    process = run(
        """
async def fail():
    raise ValueError("in a task")
class Final:
    def __del__(self):
        raise ValueError("in a finaliser")
async def main():
    logs.watch(asyncio.get_running_loop())
    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
with logs_to() as logs:
    asyncio.run(main())
    Final()
"""
    )
    in_task, in_finaliser = lines_of(process)
    assert (in_task["log.logger"], in_task["error.message"]) == ("asyncio", "in a task")
    assert in_finaliser["error.message"] == "in a finaliser"


def test_lines_of_grpc_become_records_and_the_rest_of_stderr_stays_as_it_is() -> None:
    process = run(
        """
import grpc
from concurrent import futures
with logs_to(levels={"grpc": "ERROR"}):
    bad = grpc.ssl_server_credentials([(b"no key", b"no certificate")])
    try:
        grpc.server(futures.ThreadPoolExecutor(1)).add_secure_port("127.0.0.1:0", bad)
    except RuntimeError:
        pass
    os.write(2, b"plain\\n")
    subprocess.run(["sh", "-c", "echo from a child >&2"])
    print("python", file=sys.stderr)
os.write(2, b"after")
"""
    )
    written = process.stderr.splitlines()
    records = [json.loads(line) for line in written if line.startswith("{")]
    assert {record["log.logger"] for record in records} == {"grpc.core"}
    assert {record["log.level"] for record in records} == {"error"}
    assert all(record["log.origin.file.name"].endswith(".cc") for record in records)
    others = [line for line in written if not line.startswith("{")]
    assert sorted(others) == ["after", "from a child", "plain", "python"]


def test_descriptor_2_can_be_left_alone() -> None:
    line = "E1124 04:32:28.533076     472 add_port.cc:56] no"
    process = run(f"with logs_to(capture_stderr=False):\n    os.write(2, b'{line}')")
    assert process.stderr == line


def test_a_crash_leaves_its_stacks_and_all_that_was_logged() -> None:
    process = run(TO_THE_END + "logger.info('last')\nctypes.string_at(0)")
    assert process.returncode == -signal.SIGSEGV
    first, *stacks = process.stderr.splitlines()
    assert json.loads(first)["message"] == "last"
    assert stacks[0] == "Fatal Python error: Segmentation fault"


def test_a_kill_loses_nothing_that_was_logged() -> None:
    process = run(TO_THE_END + "logger.info('last')\nos.kill(os.getpid(), signal.SIGKILL)")
    assert process.returncode == -signal.SIGKILL
    assert [line["message"] for line in lines_of(process)] == ["last"]


def test_a_reader_that_does_not_read_holds_nobody_and_misses_nothing() -> None:
    reader, writer = os.pipe()
    code = """
with logs_to() as logs:
    for number in range(1000):
        logger.info("line {}", number)
    assert not logs.flush(0.05)
    print("logged", flush=True)
    assert logs.flush(20)
"""
    command = [sys.executable, "-c", START + code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=writer) as process:
        os.close(writer)
        assert process.stdout is not None
        assert process.stdout.readline() == b"logged\n"
        with os.fdopen(reader) as lines:
            messages = [json.loads(line)["message"] for line in lines]
    assert process.returncode == 0
    assert messages == [f"line {number}" for number in range(1000)]


@pytest.mark.parametrize(("more", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_text_with_colours_unless_they_are_unwanted(
    more: dict[str, str], coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    code = START + "with logs_to():\n    logger.info('hello')"
    environment = {**os.environ, **more}
    subprocess.run([sys.executable, "-c", code], check=True, stderr=theirs, env=environment)
    written = os.read(ours, 4096).decode()
    os.close(theirs)
    os.close(ours)
    assert "hello" in written
    assert "@timestamp" not in written
    assert ("\x1b[" in written) is coloured


APP = """
import twinport

class Settings(twinport.Settings):
    pass

async def build(service, settings):
    await through(3)

async def through(frames):
    if not frames:
        raise ValueError("no tea")
    await through(frames - 1)
"""
MAIN = """
import sys
import twinport
from .app import Settings, build
sys.exit(twinport.main(Settings, build))
"""
CHOSEN = """
service.name = "order-book"
http.port = 0
grpc.port = 0
management.port = 0
traces.exporter = "none"
logs.sinks.console = {kind = "console", format = "text"}
"""


def test_an_installed_service_sees_its_own_frames_whoever_calls_them(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.11/site-packages"
    package, config = site / "order_book", tmp_path / "config"
    package.mkdir(parents=True)
    (package / "app.py").write_text(APP)
    (package / "__main__.py").write_text(MAIN)
    config.mkdir()
    (config / "default.toml").write_text(CHOSEN)
    (config / "development.toml").touch()
    done = subprocess.run(
        [sys.executable, "-m", "order_book", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    assert done.stderr.count(f'File "{package / "app.py"}"') == 5


CORE_LINES = [
    (b"E1127 23:02:06.641942   22627 hpack_parser.cc:1048] Error parsing metadata", "INFO"),
    (b"E1127 23:02:06.641942   22627 tcp_server_posix.cc:8] File descriptor limit", "ERROR"),
]


@pytest.mark.parametrize(("said", "level"), CORE_LINES)
def test_what_grpc_says_of_a_clients_metadata_is_no_error(said: bytes, level: str):
    reader, writer = os.pipe()
    os.write(writer, said + b"\n")
    os.close(writer)
    lines: list[Any] = []
    Relay(reader, 2, lines.append).run()
    os.close(reader)
    assert [line.level for line in lines] == [level]
