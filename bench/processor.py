"""CPU time per call, of user and kernel, the variants taken in turns: the second opinion."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from running import Measured, running
from variants import Variant

CALLS, WARM_UP = 500, 500
CPUCLOCK_SCHED = 2


def processor(variants: Sequence[Variant], rounds: int) -> dict[Variant, float]:
    """Return microseconds of a call of each; all run at once, one is asked at a time."""
    with ExitStack() as stack:
        started = {each: stack.enter_context(running(each)) for each in variants}
        for each in started.values():
            each.load(WARM_UP)
        taken = [{name: used(each) for name, each in started.items()} for _ in range(rounds)]
    return {name: median(each[name] for each in taken) for name in variants}


def used(measured: Measured) -> float:
    """Return microseconds of one call, as the mean of many."""
    before = nanoseconds(measured.process.pid)
    measured.load(CALLS)
    return (nanoseconds(measured.process.pid) - before) / CALLS / 1000


def nanoseconds(pid: int) -> int:
    """Return what all threads of a process have used so far, by its own clock."""
    clock = ~pid << 3 | CPUCLOCK_SCHED  # as clock_getcpuclockid(3) makes it
    return time.clock_gettime_ns(clock)


def nanoseconds_of_all(pid: int) -> int:
    """Return the same of a process and of all that it has started and that still runs."""
    return sum(nanoseconds(each) for each in family(pid))


def family(pid: int) -> Iterator[int]:
    """Yield a process and all that it has started and that still runs."""
    yield pid
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in tasks.read_text().split():
            yield from family(int(child))


def resident_mb(pid: int) -> float:
    """Return the memory that all of them keep, in megabytes."""
    status = (Path(f"/proc/{each}/status").read_text() for each in family(pid))
    return sum(int(text.partition("VmRSS:")[2].split()[0]) for text in status) / 1000
