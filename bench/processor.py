"""CPU time per call, of user and kernel, the variants taken in turns: the second opinion."""

import time
from contextlib import ExitStack
from statistics import median
from typing import NamedTuple

from running import Measured, running
from variants import Variant

ROUNDS, CALLS, WARM_UP = 12, 500, 500
CPUCLOCK_SCHED = 2


class Microseconds(NamedTuple):
    """CPU time of a call: in the middle of all rounds, and in the best one."""

    median: float
    least: float


def processor(variants: list[Variant]) -> dict[Variant, Microseconds]:
    """Return what a call of each takes; all of `variants` run at once, one is asked at a time."""
    with ExitStack() as stack:
        started = {each: stack.enter_context(running(each)) for each in variants}
        for each in started.values():
            each.load(WARM_UP)
        rounds = [{name: used(each) for name, each in started.items()} for _ in range(ROUNDS)]
    taken = {name: [each[name] for each in rounds] for name in variants}
    return {name: Microseconds(median(each), min(each)) for name, each in taken.items()}


def used(measured: Measured) -> float:
    """Return microseconds of one call, as the mean of many."""
    before = nanoseconds(measured.process.pid)
    measured.load(CALLS)
    return (nanoseconds(measured.process.pid) - before) / CALLS / 1000


def nanoseconds(pid: int) -> int:
    """Return what all threads of a process have used so far, by its own clock."""
    clock = ~pid << 3 | CPUCLOCK_SCHED  # as clock_getcpuclockid(3) makes it
    return time.clock_gettime_ns(clock)
