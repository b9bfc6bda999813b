"""How long a baked service takes to be ready, and how much memory it holds then."""

import re
import subprocess
import time
from pathlib import Path
from statistics import median

from running import running
from variants import Variant, environment, python

RUNS = 5
LIBRARIES = "fastapi, grpc.aio, hypercorn.asyncio, loguru, opentelemetry.sdk, pydantic, uvloop"
OURS = Variant("ours", "hypercorn")


def main() -> None:
    """Print both, against their targets."""
    pairs = [(importing(), starting()) for _ in range(RUNS)]  # in turns
    libraries, ready = (median(each) for each in zip(*pairs, strict=True))
    ratio = f"{ready / libraries:.2f} x the bare libraries' import (target 1.3)"
    print(f"start: ready after {ready:.2f} s, {ratio}, which takes {libraries:.2f} s")
    print(f"memory: {memory():.0f} MB after the start (target: below 110)")


def importing() -> float:
    """Return the seconds that a process takes which imports the libraries and does no more."""
    began = time.perf_counter()
    subprocess.run([python(), "-c", f"import {LIBRARIES}"], env=environment(), check=True)
    return time.perf_counter() - began


def starting() -> float:
    """Return the seconds until REST answers."""
    began = time.perf_counter()
    with running(OURS):
        return time.perf_counter() - began


def memory() -> float:
    """Return megabytes of memory that are resident, once it is ready."""
    with running(OURS) as measured:
        status = Path(f"/proc/{measured.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1000 if found else 0.0


if __name__ == "__main__":
    main()
