"""What one message of a long stream costs the server process, beside a plain one."""

from collections.abc import Iterator

from asks import imported, quoted
from atload import Effort, Load, in_turns, serving
from h2load import Shape
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


def streams(effort: Effort) -> Iterator[Part]:
    """Send orders in one stream, then items whose prices come back at once."""
    yield table("streams", HEAD, (_row(server, effort) for server in SERVERS))


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
