"""CPU time per call, of user and kernel, the variants taken in turns: the second opinion."""

import os
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from running import Running, running
from variants import Variant

ROUNDS, CALLS, WARM_UP = 5, 1000, 500
MICROSECONDS = 1_000_000 / os.sysconf("SC_CLK_TCK")


def processor(variants: list[Variant]) -> dict[Variant, float]:
    """Return the median of microseconds per call; all of `variants` run at once, one is asked."""
    with ExitStack() as stack:
        started = {each: stack.enter_context(running(each)) for each in variants}
        for each in started.values():
            each.load(WARM_UP)
        rounds = [{name: used(each) for name, each in started.items()} for _ in range(ROUNDS)]
    return {name: median(each[name] for each in rounds) for name in variants}


def used(measured: Running) -> float:
    """Return microseconds of one call, as the mean of many."""
    before = ticks(measured.process.pid)
    measured.load(CALLS)
    return (ticks(measured.process.pid) - before) * MICROSECONDS / CALLS


def ticks(pid: int) -> int:
    """Return what a process has used so far (proc_pid_stat(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
