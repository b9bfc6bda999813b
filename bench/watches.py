"""What one new order to many watches takes, and what a watch keeps."""

from collections.abc import Iterator

import uvloop
from atload import Effort
from fanout import COUNTS, LIMITS, costs_of
from tables import Part, table

TITLES = {
    "grpc": "gRPC",
    "uvicorn": "REST, uvicorn, HTTP/1.1",
    "hypercorn": "REST, hypercorn, HTTP/1.1",
}


def watches(effort: Effort) -> Iterator[Part]:
    """Ask as fanout.py does, whatever the effort."""
    head = ["CPU of an order to so many, ms", *(f"{count:,}" for count in COUNTS), "KB a watch"]
    yield table("watches", head, map(_row, ("grpc", *LIMITS)))


def _row(server: str) -> list[str]:
    costs = uvloop.run(costs_of(server))
    took = (f"{each.milliseconds:.1f}" for each in costs)
    return [TITLES[server], *took, f"{costs[-1].kilobytes:.0f}"]
