"""How many calls two processes on two cores answer, beside one on one; each core has its client."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median

from atload import CORES, Effort, Load, getting, sampled, serving, warmed
from running import BenchError
from tables import Part, table
from variants import SERVERS, TITLES, Variant

HEAD = ("calls a second", "one, on a core", "two, on two cores", "as a multiple")


def replicas(effort: Effort) -> Iterator[Part]:
    """Load one and two in turns; raises BenchError where there is one core only."""
    if len(CORES) == 1:
        raise BenchError("two replicas need two cores")
    yield table("replicas", HEAD, (_row(server, effort) for server in SERVERS))


def _row(server: str, effort: Effort) -> list[str]:
    variant, cores = Variant("ours", server), CORES[:2]
    with ExitStack() as stack:
        served = [stack.enter_context(serving([variant], core))[variant] for core in cores]
        loads = [warmed(getting(each), effort) for each in served]
        rounds = [(_rate(loads[:1]), _rate(loads)) for _ in range(effort.rounds)]
    one, two = (median(each) for each in zip(*rounds, strict=True))
    return [TITLES[server], f"{one:,.0f}", f"{two:,.0f}", f"{two / one:.2f}"]


def _rate(loads: Sequence[Load]) -> float:
    """Return how many calls all of them answer in a second, each loaded from its own core."""
    with ThreadPoolExecutor() as pool:
        return sum(each.rate for each in pool.map(sampled, loads, CORES))
