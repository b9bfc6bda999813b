"""What each part of ours costs a unary gRPC call, in instructions: what it is without it."""

from collections.abc import Iterator

from atload import Effort
from instructions import instructions
from servers.without import PARTS
from tables import Part, table
from variants import Variant

HEAD = ("part of a gRPC call", "thousand instructions", "x bare")


def parts(effort: Effort) -> Iterator[Part]:
    """Count instructions of the service without each part.

    The rest is what no part can be left out of: the object of the call, its ids and its clocks.
    """
    bare, ours = Variant("bare", "grpc"), Variant("ours", "grpc", 0.0)
    without = {part: ours._replace(without=part) for part in PARTS}
    counts = instructions([bare, ours, *without.values()], effort.counted)
    costs = {part: counts[ours] - counts[variant] for part, variant in without.items()}
    rest = counts[ours] - counts[bare] - sum(costs.values())
    rows = {"bare": counts[bare], **costs, "the rest": rest, "ours, nothing sampled": counts[ours]}
    shown = ((name, f"{cost:.1f}", f"{cost / counts[bare]:.3f}") for name, cost in rows.items())
    yield table("parts", HEAD, shown)
