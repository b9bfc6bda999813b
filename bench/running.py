"""A process to measure: started on a free port, ready when it answers, ended."""

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from load import Load, make_load
from variants import TALK, Variant, environment, python, service

from twinport.testing import free_port

OUTPUT = "output"
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
    with TemporaryDirectory() as folder, ExitStack() as stack:
        port = free_port()
        process = started(variant, under, port, Path(folder))
        stack.callback(end, process)
        wait_until_open(process, port, Path(folder) / OUTPUT)
        load = stack.enter_context(make_load(TALK[variant.server], port))
        yield Running(process, load, Path(folder))


def started(
    variant: Variant, under: Sequence[str], port: int, folder: Path
) -> subprocess.Popen[bytes]:
    """Start it; what it says goes to a file in `folder`."""
    with open(folder / OUTPUT, "wb") as output:
        return subprocess.Popen(
            [*under, python(), *variant.command(port)],
            cwd=service() if variant.assembly == "ours" else folder,
            env=environment() | {"BENCH_OUTPUT": str(folder)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def wait_until_open(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    """Return when something listens on `port`; raises BenchError."""
    until = time.monotonic() + READY_S
    while not is_open(port):
        if time.monotonic() > until or process.poll() is not None:
            said = output.read_text(errors="replace").strip().splitlines()
            raise BenchError(f"did not start: {' '.join(said[-1:])}")
        time.sleep(0.01)


def is_open(port: int) -> bool:
    """Tell whether something listens on `port`."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end(process: subprocess.Popen[bytes]) -> None:
    """End it, kindly at first."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
