"""A process to measure: started on a free port, ready when it answers, ended."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from load import Load, make_load
from variants import TALK, Variant, environment, python, service

from tools.backend import listens
from twinport.testing import Running, free_port

READY_S = 240  # valgrind makes a start fifty times as long


class BenchError(Exception):
    """Nothing can be measured; the text is one line."""


class Measured(NamedTuple):
    """A variant that answers; `folder` is for what is written about it."""

    process: Running
    load: Load
    folder: Path


@contextmanager
def running(variant: Variant, under: Sequence[str] = ()) -> Iterator[Measured]:
    """Keep `variant` running, by the command `under` if there is one; raises BenchError."""
    with (
        TemporaryDirectory() as folder,
        listening(variant, under, port := free_port(), Path(folder)) as process,
        make_load(TALK[variant.server], port) as load,
    ):
        yield Measured(process, load, Path(folder))


def listening(
    variant: Variant, under: Sequence[str], port: int, folder: Path
) -> AbstractContextManager[Running]:
    """Keep it running from when something listens on `port`; raises BenchError."""
    command = [*under, python(), *variant.command(port)]
    cwd = service() if variant.assembly == "ours" else folder
    return started(variant.name, command, cwd, port, {"BENCH_OUTPUT": str(folder)})


@contextmanager
def started(
    name: str, command: Sequence[str], cwd: Path, port: int, variables: dict[str, str]
) -> Iterator[Running]:
    """Keep a command running from when something listens on `port`; raises BenchError."""
    with Running(command, cwd, environment() | variables) as process:
        try:
            process.wait_until(lambda: listens(port), READY_S)
        except TimeoutError as error:
            raise BenchError(f"{name}: {error}") from error
        yield process
