"""Many calls at once, by h2load, which needs a fraction of what a server in Python needs.

It knows nothing of gRPC, whose calls are HTTP/2 requests with a framed message in them.
"""

import re
import subprocess
from collections.abc import Iterable
from tempfile import NamedTemporaryFile
from typing import NamedTuple

from running import BenchError

DONE = re.compile(r"finished in .+?, ([\d.]+) req/s.+?(\d+) succeeded.+? \((\d+)\) data", re.DOTALL)
RPC = "/order_book.orders.v1.OrderService"
TIMEOUT_S = 300
FIELDS = {
    "json": ["content-type: application/json"],
    "lines": ["content-type: application/x-ndjson"],
    "grpc": ["content-type: application/grpc", "te: trailers"],
}


class Ask(NamedTuple):
    """What each call asks; a POST if there is a body, whose `kind` is a key of FIELDS."""

    path: str
    body: bytes = b""
    kind: str = "json"


class Shape(NamedTuple):
    """How many connections there are, and how many calls run at once on each."""

    connections: int
    streams: int = 1

    @property
    def at_once(self) -> int:
        """Return how many calls run at once on all."""
        return self.connections * self.streams


class Answered(NamedTuple):
    """Calls that were answered a second, and the milliseconds that 50 % and 99 % took at most."""

    rate: float
    p50: float
    p99: float


def send(
    talk: str, port: int, ask: Ask, shape: Shape, calls: int, under: Iterable[str]
) -> Answered:
    """Send so many calls; raises BenchError."""
    url = f"http://127.0.0.1:{port}{ask.path}"
    how = ["-n", str(calls), "-c", str(shape.connections), "-m", str(shape.streams)]
    version = ["--h1"] if talk == "h1" else []
    with NamedTemporaryFile() as file, NamedTemporaryFile("r") as log:
        file.write(ask.body)
        file.flush()
        body = ["-d", file.name, *_fields(ask)] if ask.body else []
        said = _said([*under, "h2load", f"--log-file={log.name}", *version, *how, *body, url])
        rate = _rate(said, calls, url)
        return Answered(rate, *_percentiles(log))


def _percentiles(log: Iterable[str]) -> tuple[float, float]:
    """Return both in milliseconds, of lines that end with microseconds."""
    took = sorted(int(line.split()[2]) / 1000 for line in log)
    return took[len(took) // 2], took[len(took) * 99 // 100]


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise BenchError(str(error)) from error
    return done.stdout


def framed(*messages: bytes) -> bytes:
    """Return messages as gRPC has them in a stream."""
    return b"".join(b"\0" + len(each).to_bytes(4, "big") + each for each in messages)


def _fields(ask: Ask) -> list[str]:
    return [each for field in FIELDS[ask.kind] for each in ("-H", field)]


def _rate(said: str, calls: int, url: str) -> float:
    """Return the calls of a second; each was answered, with the same number of bytes.

    A gRPC call that fails has status 200, too, but no byte of data.
    """
    found = DONE.search(said)
    if found is None:
        raise BenchError(f"h2load said nothing of {url}: {said[-200:]!r}")
    rate, succeeded, data = float(found[1]), int(found[2]), int(found[3])
    if succeeded != calls or data == 0 or data % calls:
        raise BenchError(f"{url}: {succeeded} of {calls} calls were answered, with {data} bytes")
    return rate
