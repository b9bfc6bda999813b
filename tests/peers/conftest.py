"""One baked service, installed and started, for clients that are not ours."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest

TEMPLATE = Path(__file__).parents[2]
TOOLS = TEMPLATE / ".build/bin"
SETTINGS = {
    "http.host": "127.0.0.1",
    "http.port": "0",
    "grpc.host": "127.0.0.1",
    "grpc.port": "0",
    "grpc.reflection": "true",
    "management.port": "0",
    "traces.exporter": "none",
    "logs.sinks.console.format": "json",
}
SECURE = {
    f"{port}.tls.{name}": f"certs/server.{kind}"
    for port in ("http", "grpc")
    for name, kind in (("certificate", "pem"), ("key", "key"))
}


class Running(NamedTuple):
    """A service that is ready; `errors` are the lines of its log that say so."""

    folder: Path
    http: int
    grpc: int
    errors: list[str]

    @property
    def rpc_address(self) -> str:
        return f"localhost:{self.grpc}"

    @property
    def ca(self) -> Path:
        return self.folder / "certs/ca.pem"


Start = Callable[..., Running]


@pytest.fixture(scope="session")
def start(installed: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Starts the service with settings on free ports; all end with the tests."""
    processes = []

    def start(settings: dict[str, str]) -> Running:
        sets = [f"--set={name}={value}" for name, value in (SETTINGS | settings).items()]
        process = subprocess.Popen(
            (installed / ".venv/bin/order-book", "run", *sets),
            cwd=installed,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return until_ready(process, installed)

    yield start
    for process in processes:
        process.terminate()
        assert process.wait(timeout=30) == 0


def until_ready(process: subprocess.Popen[str], folder: Path) -> Running:
    """Read its log up to the line that names its ports; the rest is read in the background."""
    for line in process.stdout:
        if '"ready' in line:
            labels = json.loads(line)["labels"]
            running = Running(folder, int(labels["http"]), int(labels["grpc"]), [])
            Thread(target=keep_errors, args=(process, running.errors)).start()
            return running
    raise AssertionError("it has ended")


def keep_errors(process: subprocess.Popen[str], errors: list[str]) -> None:
    errors.extend(line for line in process.stdout if "Traceback" in line or '"ERROR"' in line)


@pytest.fixture(scope="session")
def service(start: Start) -> Running:
    return start({})


@pytest.fixture(scope="session")
def secure(installed: Path, run, start: Start) -> Running:
    """The same with TLS on both ports."""
    run("make", "certs", cwd=installed)
    return start(SECURE)


@pytest.fixture(autouse=True)
def nothing_is_logged_as_an_error(service: Running) -> Iterator[None]:
    service.errors.clear()
    yield
    assert "".join(service.errors) == ""
