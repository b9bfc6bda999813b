"""A process to measure: started on a free port, ready when it answers, ended."""

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from load import Load, make_load
from variants import TALK, Variant, environment, python, service

READY_S, STOP_S = 240, 30  # valgrind makes a start fifty times as long


class BenchError(Exception):
    """Nothing can be measured; the text is one line."""


class Running:
    """A variant that answers; `folder` is for what is written about it."""

    def __init__(self, process: subprocess.Popen[bytes], load: Load, folder: Path) -> None:
        self.process, self.load, self.folder = process, load, folder


@contextmanager
def running(variant: Variant, under: Sequence[str] = ()) -> Iterator[Running]:
    """Keep `variant` running, by the command `under` if there is one; raises BenchError."""
    with TemporaryDirectory() as folder, open(Path(folder) / "output", "wb") as output:
        port = free_port()
        command = [*under, python(), *variant.command(port)]
        process = subprocess.Popen(
            command,
            cwd=folder if variant.assembly != "ours" else service(),
            env=environment() | {"BENCH_OUTPUT": folder},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until_open(process, port, Path(output.name))
            with make_load(TALK[variant.server], port) as load:
                yield Running(process, load, Path(folder))
        finally:
            end(process)


def wait_until_open(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    """Return when something listens on `port`; raises BenchError."""
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    said = output.read_text(errors="replace").strip().splitlines()
    raise BenchError(f"did not start: {' '.join(said[-1:])}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End it, kindly at first."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
