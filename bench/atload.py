"""What a call costs a server process while others run, the processes asked in turns.

Each process has the first core and the load the last one, so a rate is that of one core. Where it
logs to is a file, as a pipe that nobody empties in time would hold it up.
"""

import math
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

from asks import create
from h2load import Ask, Shape, send
from processor import nanoseconds_of_all
from running import Running, listening, started
from variants import TALK, Variant

from twinport.testing import free_port

CORES = sorted(os.sched_getaffinity(0))
# 3 keeps the output open, whose end would be the end of the process.
INTO_FILE = ("sh", "-c", 'exec "$@" 3>&1 >"$BENCH_OUTPUT/log" 2>&1', "sh")
AT_ONCE = {"h1": Shape(16), "h2": Shape(4, 4), "grpc": Shape(4, 4)}

Key = TypeVar("Key")


class Effort(NamedTuple):
    """How long something is measured."""

    rounds: int
    seconds: float  # of a round
    warm_up: int  # calls, until compilers and caches of the process have settled
    counted: int  # calls whose instructions are counted


FULL, QUICK = Effort(9, 1.0, 2000, 600), Effort(3, 0.2, 200, 60)


class Served(NamedTuple):
    """A process that answers on `port`, in the language `talk`: h1, h2 or grpc."""

    process: Running
    talk: str
    port: int


class Load(NamedTuple):
    """What is asked of a process again and again."""

    served: Served
    ask: Ask
    shape: Shape
    calls: int = 0  # of each round; 0: as many as fit into the time of the effort


class Sample(NamedTuple):
    """What one call took of the processor, in microseconds, and what its client saw of it."""

    cpu: float
    rate: float
    p50: float = math.nan  # where nobody else has asked
    p99: float = math.nan


def on_core(core: int) -> tuple[str, ...]:
    """Return the words before a command that keep it on one core."""
    return ("taskset", "-c", str(core))


@contextmanager
def serving(variants: Sequence[Variant], core: int = CORES[0]) -> Iterator[dict[Variant, Served]]:
    """Keep all of them running; raises BenchError."""
    with ExitStack() as stack:
        yield {each: stack.enter_context(_serving(each, core)) for each in variants}


@contextmanager
def _serving(variant: Variant, core: int) -> Iterator[Served]:
    under = (*on_core(core), *INTO_FILE)
    with (
        TemporaryDirectory() as folder,
        listening(variant, under, port := free_port(), Path(folder)) as process,
    ):
        yield Served(process, TALK[variant.server], port)


@contextmanager
def serving_peer(name: str, talk: str, command: Sequence[str]) -> Iterator[Served]:
    """Keep a program running whose `command` names its port as {port}; raises BenchError."""
    port = free_port()
    words = [*on_core(CORES[0]), *INTO_FILE, *(word.format(port=port) for word in command)]
    with (
        TemporaryDirectory() as folder,
        started(name, words, Path(folder), port, {"BENCH_OUTPUT": folder}) as process,
    ):
        yield Served(process, talk, port)


def getting(served: Served) -> Load:
    """Return calls for one order, 16 at once."""
    return Load(served, create(served.talk, served.port), AT_ONCE[served.talk])


def in_turns(loads: Mapping[Key, Load], effort: Effort) -> dict[Key, Sample]:
    """Return the medians of each; raises BenchError."""
    _allow_many_connections()
    ready = {key: warmed(load, effort) for key, load in loads.items()}
    rounds = [{key: sampled(load) for key, load in ready.items()} for _ in range(effort.rounds)]
    return {key: _median([each[key] for each in rounds]) for key in loads}


def sampled(load: Load, core: int = CORES[-1]) -> Sample:
    """Return what one round took; raises BenchError."""
    served = load.served
    before = nanoseconds_of_all(served.process.pid)
    seen = send(served.talk, served.port, load.ask, load.shape, load.calls, on_core(core))
    used = nanoseconds_of_all(served.process.pid) - before
    return Sample(used / load.calls / 1000, *seen)


def warmed(load: Load, effort: Effort) -> Load:
    """Return it with its number of calls: as many for each connection."""
    if load.calls:
        sampled(load)
        return load
    at_once = load.shape.at_once
    rate = sampled(load._replace(calls=_multiple(effort.warm_up, at_once))).rate
    return load._replace(calls=_multiple(rate * effort.seconds, at_once))


def _multiple(calls: float, at_once: int) -> int:
    return max(1, round(calls / at_once)) * at_once


def _median(samples: Sequence[Sample]) -> Sample:
    return Sample(*map(median, zip(*samples, strict=True)))


def _allow_many_connections() -> None:
    """Let this process and what it starts from now on open as many files as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
