"""Print what each part of ours costs a unary gRPC call, in instructions: what it is without it.

The rest is what no part can be left out of: the object of the call, its ids, its clocks and errors.
"""

import sys

from instructions import instructions
from running import BenchError
from servers.without import PARTS
from variants import Variant

WIDTH = 16


def main() -> int:
    """Print a line for each part; return the exit status."""
    bare, ours = Variant("bare", "grpc"), Variant("ours", "grpc", 0.0)
    without = {part: ours._replace(without=part) for part in PARTS}
    try:
        counts = instructions([bare, ours, *without.values()])
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    costs = {part: counts[ours] - counts[variant] for part, variant in without.items()}
    show("bare", counts[bare], counts[bare])
    for part, cost in costs.items():
        show(part, cost, counts[bare])
    show("the rest", counts[ours] - counts[bare] - sum(costs.values()), counts[bare])
    show("ours, 0 %", counts[ours], counts[bare])
    return 0


def show(name: str, cost: float, bare: float) -> None:
    """Print what it costs, and as a part of bare."""
    print(f"{name:<{WIDTH}}{cost:9.1f} thousand instructions, {cost / bare:.3f} x bare", flush=True)


if __name__ == "__main__":
    sys.exit(main())
