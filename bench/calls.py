"""What one order costs, as a multiple of bare: one call at a time, and 16 at once."""

from collections.abc import Iterator, Mapping, Sequence

from atload import Effort, Sample, getting, in_turns, serving
from instructions import instructions
from processor import processor
from tables import Part, table
from variants import SERVERS, TITLES, Variant

ASSEMBLIES = (("bare", 0.01), ("usual", 0.01), ("ours", 0.01), ("usual", 1.0), ("ours", 1.0))
HEAD = ("usual, 1 %", "**ours, 1 %**", "target", "usual, 100 %", "**ours, 100 %**")
LATENCY = ("16 at once, ms p50 / p99", "bare", "usual, 1 %", "**ours, 1 %**")
INSTRUCTIONS = {"hypercorn": 0.80, "uvicorn": 0.75, "granian": 0.75, "grpc": 1.15}
AT_ONCE = {"hypercorn": 0.80, "uvicorn": 0.75, "granian": 0.75, "grpc": 1.35}

Costs = Mapping[Variant, float]


def counted(effort: Effort, servers: Sequence[str] = SERVERS) -> Iterator[Part]:
    """Count instructions, one call at a time."""
    costs = [instructions(variants_on(server), effort.counted) for server in servers]
    yield compared("instructions", "bare, thousand", costs, INSTRUCTIONS)


def one_at_a_time(effort: Effort, servers: Sequence[str] = SERVERS) -> Iterator[Part]:
    """Take the processor's time, one call at a time."""
    costs = [processor(variants_on(server), effort.rounds) for server in servers]
    yield compared("one at a time", "bare, us", costs, {})


def at_once(effort: Effort, servers: Sequence[str] = SERVERS) -> Iterator[Part]:
    """Take the processor's time, 16 calls at once, and what they took from end to end."""
    taken = [loaded(variants_on(server), effort) for server in servers]
    costs = [{variant: each.cpu for variant, each in samples.items()} for samples in taken]
    yield compared("16 at once", "bare, us", costs, AT_ONCE)
    yield table("latency", LATENCY, map(_latency, taken))


def variants_on(server: str) -> list[Variant]:
    """Return all that is compared on a server, bare first."""
    return [Variant(assembly, server, ratio) for assembly, ratio in ASSEMBLIES]


def loaded(variants: Sequence[Variant], effort: Effort) -> dict[Variant, Sample]:
    """Return what a call of each took, 16 at once."""
    with serving(variants) as served:
        loads = {variant: getting(each) for variant, each in served.items()}
        return in_turns(loads, effort)


def compared(name: str, unit: str, costs: Sequence[Costs], targets: Mapping[str, float]) -> Part:
    """Return a row for each server."""
    return table(name, (name, unit, *HEAD), (_row(each, targets) for each in costs))


def _row(costs: Costs, targets: Mapping[str, float]) -> list[str]:
    (bare, of_bare), *others = costs.items()
    usual, ours, usual_all, ours_all = (f"{cost / of_bare:.2f}" for _, cost in others)
    target = f"{targets[bare.server]:.2f}" if bare.server in targets else ""
    told = (usual, f"**{ours}**", target, usual_all, f"**{ours_all}**")
    return [TITLES[bare.server], f"{of_bare:.1f}", *told]


def _latency(samples: Mapping[Variant, Sample]) -> list[str]:
    bare, usual, ours, *_ = (f"{each.p50:.1f} / {each.p99:.1f}" for each in samples.values())
    (variant, *_) = samples
    return [TITLES[variant.server], bare, usual, f"**{ours}**"]
