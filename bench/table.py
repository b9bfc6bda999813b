"""Print what a call costs: instructions and CPU time, each also as a multiple of bare.

Usage: table.py [instructions|processor]
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product

from instructions import instructions
from processor import processor
from running import BenchError
from variants import REST_SERVERS, Variant

ASSEMBLIES = (("bare", 0.01), ("usual", 0.01), ("ours", 0.01), ("usual", 1.0), ("ours", 1.0))
UNITS = {"instructions": "thousand instructions", "processor": "us of CPU time"}
CORES = 2


def main() -> int:
    """Print a table for each server; return the exit status."""
    units = sys.argv[1:] or list(UNITS)
    try:
        for server, unit in product((*REST_SERVERS, "grpc"), units):
            variants = [Variant(assembly, server, ratio) for assembly, ratio in ASSEMBLIES]
            show(measured(variants, unit), unit)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def measured(variants: list[Variant], unit: str) -> dict[Variant, float]:
    """Return what a call of each costs."""
    if unit == "processor":
        return processor(variants)
    with ThreadPoolExecutor(CORES) as cores:
        return dict(zip(variants, cores.map(instructions, variants), strict=True))


def show(costs: dict[Variant, float], unit: str) -> None:
    """Print a line for each variant."""
    bare = next(cost for variant, cost in costs.items() if variant.assembly == "bare")
    for variant, cost in costs.items():
        print(f"{variant.name:<22}{cost:9.1f} {UNITS[unit]}, {cost / bare:.2f} x", flush=True)


if __name__ == "__main__":
    sys.exit(main())
