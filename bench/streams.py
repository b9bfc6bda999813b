"""What one message of a long stream costs the server process, beside a plain one."""

from collections.abc import Iterator
from statistics import median

from asks import imported, quote_in_turn, quoted
from atload import Effort, Load, Served, in_turns, serving
from h2load import Shape
from processor import nanoseconds_of_all
from tables import Part, table
from variants import TITLES, Variant

SERVERS = ("hypercorn", "uvicorn", "grpc")
MESSAGES, STREAMS = 2000, 4  # so few streams, as the store keeps what is imported
KINDS = {"in": imported, "both ways": quoted}
HEAD = (
    "CPU of a message, us",
    "in, plain",
    "**in, ours**",
    "both ways, plain",
    "**both ways, ours**",
)
HEAD_IN_TURN = ("CPU of a message, us", "plain", "**ours**")


def streams(effort: Effort) -> Iterator[Part]:
    """Send orders in one stream, then items whose prices come back at once, then one by one."""
    yield table("streams", HEAD, (_row(server, effort) for server in SERVERS))
    yield table("one in flight", HEAD_IN_TURN, [_row_in_turn(effort)])


def _row(server: str, effort: Effort) -> list[str]:
    plain, ours = Variant("plain", server), Variant("ours", server)
    with serving((plain, ours)) as served:
        loads = {
            (kind, variant): Load(each, ask(each.talk, MESSAGES), Shape(1), STREAMS)
            for variant, each in served.items()
            for kind, ask in KINDS.items()
        }
        taken = in_turns(loads, effort)
    costs = [
        f"{mark}{taken[kind, variant].cpu / MESSAGES:.1f}{mark}"
        for kind in KINDS
        for variant, mark in ((plain, ""), (ours, "**"))
    ]
    return [TITLES[server], *costs]


def _row_in_turn(effort: Effort) -> list[str]:
    variants = Variant("plain", "grpc"), Variant("ours", "grpc")
    with serving(variants) as served:
        for each in served.values():
            quote_in_turn(each.port, effort.warm_up)
        rounds = [[_in_turn(served[each]) for each in variants] for _ in range(effort.rounds)]
    plain, ours = (median(each) for each in zip(*rounds, strict=True))
    return [f"{TITLES['grpc']}, one in flight", f"{plain:.1f}", f"**{ours:.1f}**"]


def _in_turn(served: Served) -> float:
    """Return the microseconds of a message that is sent when the one before it is answered."""
    before = nanoseconds_of_all(served.process.pid)
    quote_in_turn(served.port, MESSAGES)
    return (nanoseconds_of_all(served.process.pid) - before) / MESSAGES / 1000
