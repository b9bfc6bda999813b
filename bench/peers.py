"""One table beside what else one would pick, each observed alike, 16 calls at once on one core.

Alike: the trace context is read and 1 % of the calls without one are sampled, spans go nowhere;
a line of JSON and a metric for each call.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from atload import Effort, Sample, Served, getting, in_turns, serving, serving_peer
from processor import resident_mb
from tables import Part, table
from variants import Variant, service

BUILT = service().parent / "peers"
PROTO = service() / "proto/order_book/orders/v1/orders.proto"
PYVOY = (f"{sys.prefix}/bin/pyvoy", "--port", "{port}")
GO = (str(BUILT / "go/server"),)
NODE = ("node", str(BUILT / "node/orders.js"))
NAMES = {"h1": "REST, HTTP/1.1", "h2": "REST, HTTP/2", "grpc": "gRPC"}
HEAD = (
    "16 at once, 1 % sampled",
    "",
    "CPU of a call, us",
    "calls a second on a core",
    "memory, MB",
)


class Peer(NamedTuple):
    """A program of others, and the words that start it on a {port}."""

    name: str
    talk: str
    command: tuple[str, ...]


SERVERS = {"uvicorn": "uvicorn", "granian": "granian", "hypercorn": "hypercorn", "grpc": "grpc.aio"}
OWN = {Variant("ours", server): f"**ours**, {name}" for server, name in SERVERS.items()}
USUAL = {Variant("usual", server): f"usual, {name}" for server, name in SERVERS.items()}
PEERS = (
    Peer("FastAPI on pyvoy", "h1", (*PYVOY, "pyvoy_orders:rest")),
    Peer("FastAPI on pyvoy", "h2", (*PYVOY, "pyvoy_orders:rest")),
    Peer("connectrpc on pyvoy", "grpc", (*PYVOY, "pyvoy_orders:rpc")),
    Peer("Go, net/http", "h1", (*GO, "rest", "{port}", "0.01")),
    Peer("Go, net/http", "h2", (*GO, "rest", "{port}", "0.01")),
    Peer("Go, grpc-go", "grpc", (*GO, "grpc", "{port}", "0.01")),
    Peer("Node, fastify", "h1", (*NODE, "rest", "{port}", "0.01")),
    Peer("Node, grpc-js", "grpc", (*NODE, "grpc", "{port}", "0.01", str(PROTO))),
)


def peers(effort: Effort) -> Iterator[Part]:
    """Load all of them in turns."""
    with _all() as served:
        loads = {name: getting(each) for name, each in served.items()}
        taken = in_turns(loads, effort)
        rows = [_row(served[name], name[1], sample) for name, sample in taken.items()]
    order = list(NAMES.values())
    yield table("peers", HEAD, sorted(rows, key=lambda row: order.index(row[0])))


@contextmanager
def _all() -> Iterator[Mapping[tuple[str, str], Served]]:
    """Keep ours, the usual assembly and the others running, each by its transport and name."""
    names = OWN | USUAL
    with serving(list(names)) as own, ExitStack() as stack:
        found = {(each.talk, names[variant]): each for variant, each in own.items()}
        for peer in PEERS:
            found[peer.talk, peer.name] = stack.enter_context(serving_peer(*peer))
        yield found


def _row(served: Served, name: str, sample: Sample) -> list[str]:
    figures = (sample.cpu, sample.rate, resident_mb(served.process.pid))
    return [NAMES[served.talk], name, *(f"{figure:,.0f}" for figure in figures)]
