"""How long a baked service takes to be ready, and how much memory it holds then.

The measure is the import of the libraries that it is made of, and of no module of its own: the two
servers, the settings, the log, the spans with the instrumentation that is used, and the loop. Ours
starts with the settings of production, but for its ports and the exporter, which is none.
"""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from atload import Effort
from processor import resident_mb
from running import BenchError, listening, running
from settings import reading
from tables import Part, table
from variants import Variant, environment, python, service

from twinport.testing import free_port

LIBRARIES = (
    "fastapi",
    "grpc.aio",
    "hypercorn.asyncio",
    "loguru",
    "opentelemetry.instrumentation.asgi",
    "opentelemetry.sdk.trace.export",
    "pydantic_settings",
    "uvloop",
)
OURS = Variant("ours", "hypercorn")
PROBE = b"GET /v1/orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
TIMEOUT_S = 10


def start(effort: Effort) -> Iterator[Part]:
    """Measure both, and the reading of the settings, against their targets."""
    importing()  # the first one reads from the disk
    starting()
    pairs = [(importing(), starting()) for _ in range(effort.rounds)]  # in turns
    libraries, ready = (median(each) for each in zip(*pairs, strict=True))
    ratio = f"{ready / libraries:.2f} x the import of the libraries that a service is made of"
    first, again = reading(service(), effort.rounds)
    rows = [
        ("ready, after the start of the process", f"{ready:.2f} s: {ratio}", "1.3 x"),
        ("memory when it is ready", f"{memory():.0f} MB", "below 110 MB"),
        ("reading, merging and checking the settings", f"{first:.1f} ms", "below 30 ms"),
        ("the same once more, as SIGHUP does", f"{again:.1f} ms", ""),
    ]
    yield table("start", ("what", "measured", "target"), rows)


def importing() -> float:
    """Return the seconds that a process takes which imports the libraries and does no more."""
    began = time.perf_counter()
    program = f"import {', '.join(LIBRARIES)}"
    subprocess.run([python(), "-c", program], env=environment(), check=True)
    return time.perf_counter() - began


def starting() -> float:
    """Return the seconds until REST answers."""
    port, began = free_port(), time.perf_counter()
    with TemporaryDirectory() as folder, listening(OURS, (), port, Path(folder)):
        return answered(port) - began


def answered(port: int) -> float:
    """Return when the first answer was there: the port is open before it is served."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        connection.sendall(PROBE)
        if not connection.recv(1024).startswith(b"HTTP/1.1 200"):
            raise BenchError("did not answer 200")
    return time.perf_counter()


def memory() -> float:
    """Return megabytes of memory that are resident, once it is ready."""
    with running(OURS) as measured:
        return resident_mb(measured.process.pid)
