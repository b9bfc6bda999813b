"""A service as a process, and a fake Zipkin: without anything installed but Python."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from twinport.testing import NotLoggedError, Running, free_port, own_environment, running

from support.places import SAMPLE

COMMAND = [sys.executable, "-m", "sample", "run"]
SOURCE = SAMPLE.parents[1] / "src"

ALONE = f"""
import sys
import threading
import time
sys.path.insert(0, {str(SOURCE)!r})
from twinport.testing import FakeZipkin, Running, free_port, own_environment, running
with FakeZipkin() as zipkin:
    print(zipkin.port > 0)
"""

CHILD = """
import subprocess, sys
print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
sys.stdin.read()
"""


def test_it_runs_on_the_ports_that_it_names_and_stops_with_0() -> None:
    with running(COMMAND, SAMPLE, {"orders.page_size": 7}) as service:
        ports = service.ports()
        assert min(ports) > 0
        assert len({*ports}) == len(ports)
        assert service.stop() == 0
    assert service.lines[-1]["message"] == "stopped"


def test_a_service_that_does_not_start_says_why() -> None:
    with running(COMMAND, SAMPLE, {"http.host": "no such host"}) as service:
        with pytest.raises(NotLoggedError, match=r"did not log 'ready'; its last line: .*http"):
            service.ports()
        assert service.exit_status() == 1


def test_who_waits_for_a_line_hears_of_the_end_at_once(tmp_path: Path) -> None:
    seconds = 20
    with Running(["sleep", "600"], tmp_path) as silent:
        threading.Timer(0.1, silent.terminate).start()
        began = time.monotonic()
        with pytest.raises(NotLoggedError):
            silent.logged("ready", seconds=seconds)
        assert time.monotonic() - began < seconds


LISTENING = "import socket; server = socket.create_server(('127.0.0.1', {})); server.accept()"


def test_what_logs_no_record_is_ready_when_it_answers(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", LISTENING.format(port)]
    with Running(command, tmp_path) as server:
        server.wait_until(lambda: is_open(port))
        assert server.exit_status() == 0


def test_the_wait_for_what_ends_instead_is_over_with_its_last_line(tmp_path: Path) -> None:
    with (
        Running([sys.executable, "-c", "raise SystemExit('no disk')"], tmp_path) as server,
        pytest.raises(TimeoutError, match="is not ready; its last line: no disk"),
    ):
        server.wait_until(lambda: False, seconds=600)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_settings_of_our_own_environment_are_not_its(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = ("SAMPLE__HTTP__PORT", "SAMPLE_ENV", "SAMPLE_SECRETS", "OTEL_SDK_DISABLED")
    for name in (*foreign, "MAKEFLAGS", "PYTEST_ADDOPTS", "PYTHONPATH", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SHOP_HOME", "kept")
    seen = own_environment()
    assert seen["SHOP_HOME"] == "kept"
    assert [name for name in seen if seen[name] == "1" and name in foreign] == []
    assert {"MAKEFLAGS", "PYTEST_ADDOPTS", "PYTHONPATH", "VIRTUAL_ENV"}.isdisjoint(seen)


def test_nothing_of_the_group_is_left(tmp_path: Path) -> None:
    with Running([sys.executable, "-c", CHILD], tmp_path) as parent:
        while not parent.output:
            pass
        (child,) = parent.output
    while is_there(child):
        pass  # the signal is on its way


def is_there(pid: str) -> bool:
    state = ("ps", "-o", "state=", "-p", pid)
    told = subprocess.run(state, capture_output=True, text=True, check=False).stdout
    return told[:1] not in {"", "Z"}


def test_it_needs_the_standard_library_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ALONE], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
