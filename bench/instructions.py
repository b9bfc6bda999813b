"""Instructions per call, by valgrind's callgrind: they repeat where times scatter.

They are those of user space; what the kernel does is not among them, so processor.py is asked too.
"""

import re
import shutil
import subprocess
from pathlib import Path

from running import BenchError, running
from variants import Variant

WARM_UP, WARM_UP_COUNTED, CALLS = 300, 20, 600
OPTIONS = ("--instr-atstart=no", "--callgrind-out-file=%q{BENCH_OUTPUT}/out")  # start quickly
TOTALS = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


def instructions(variant: Variant, calls: int = CALLS) -> float:
    """Return thousands of instructions per call."""
    if shutil.which("valgrind") is None:
        raise BenchError("valgrind is missing: make bench-tools")
    under = ["valgrind", "-q", "--tool=callgrind", *OPTIONS]
    with running(variant, under) as measured:
        measured.load(WARM_UP)
        control(measured.process.pid, "-i", "on")
        measured.load(WARM_UP_COUNTED)
        control(measured.process.pid, "-d")
        measured.load(calls)
        control(measured.process.pid, "-d")
        return total(measured.folder / "out.2") / calls / 1000


def control(pid: int, *what: str) -> None:
    """Tell callgrind to count, or to write down its counts and begin again with zero."""
    done = subprocess.run(["callgrind_control", *what, str(pid)], capture_output=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"callgrind_control {what[0]}: {done.stderr.decode().strip()}")


def total(path: Path) -> int:
    """Return what was counted between two dumps."""
    found = TOTALS.findall(path.read_text(errors="replace"))
    if not found:
        raise BenchError(f"callgrind has counted nothing in {path.name}")
    return int(found[-1])
