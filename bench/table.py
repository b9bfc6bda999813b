"""Print what a call costs: instructions and CPU time, each also as a multiple of bare.

Usage: table.py [instructions|processor] [SERVER...]
"""

import sys
from collections.abc import Sequence
from itertools import product

from instructions import instructions
from processor import processor
from running import BenchError
from variants import SERVERS, Variant

ASSEMBLIES = (("bare", 0.01), ("usual", 0.01), ("ours", 0.01), ("usual", 1.0), ("ours", 1.0))
UNITS = {
    "instructions": ("thousand instructions",),
    "processor": ("us of CPU time, median", "us, least"),
}

Costs = dict[Variant, Sequence[float]]


def main() -> int:
    """Print a table for each server; return the exit status."""
    units = [each for each in UNITS if each in sys.argv[1:]] or list(UNITS)
    servers = [each for each in SERVERS if each in sys.argv[1:]] or list(SERVERS)
    try:
        for server, unit in product(servers, units):
            variants = [Variant(assembly, server, ratio) for assembly, ratio in ASSEMBLIES]
            show(measured(variants, unit), UNITS[unit])
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def measured(variants: list[Variant], unit: str) -> Costs:
    """Return what a call of each costs; times one after the other, as cores would be shared."""
    if unit == "processor":
        return dict(processor(variants))
    return {each: (count,) for each, count in instructions(variants).items()}


def show(costs: Costs, units: Sequence[str]) -> None:
    """Print a line for each variant."""
    bare = next(cost for variant, cost in costs.items() if variant.assembly == "bare")
    for variant, cost in costs.items():
        told = (
            f"{one:9.1f} {unit}, {one / of_bare:.2f} x"
            for one, unit, of_bare in zip(cost, units, bare, strict=True)
        )
        print(f"{variant.name:<22}{'; '.join(told)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
