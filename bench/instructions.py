"""Instructions per call, by valgrind's callgrind: they repeat where times scatter.

They are those of user space; what the kernel does is not among them, so processor.py is asked too.
Of gRPC they are those of threads in which Python runs. The threads of its core carry the bytes,
whatever the handler does, and wake each other up as they please: 35 to 90 thousand instructions
a call in runs of the same thing, while those of the other threads repeat to 0.3 %.
"""

import re
import shutil
import subprocess

from running import BenchError, running
from variants import Variant

WARM_UP, WARM_UP_COUNTED, CALLS = 300, 20, 600
OPTIONS = (
    "--instr-atstart=no",  # start quickly
    "--separate-threads=yes",
    "--callgrind-out-file=%q{BENCH_OUTPUT}/out",
)
TOTALS = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)
PYTHON = "_PyEval_EvalFrameDefault"


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
        threads = [path.read_text(errors="replace") for path in measured.folder.glob("out.2-*")]
    if variant.server == "grpc":
        threads = [text for text in threads if PYTHON in text]
    counted = sum(map(total, threads))
    if not counted:
        raise BenchError("callgrind has counted nothing")
    return counted / calls / 1000


def control(pid: int, *what: str) -> None:
    """Tell callgrind to count, or to write down its counts and begin again with zero."""
    done = subprocess.run(["callgrind_control", *what, str(pid)], capture_output=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"callgrind_control {what[0]}: {done.stderr.decode().strip()}")


def total(thread: str) -> int:
    """Return what was counted in a thread between two dumps."""
    found = TOTALS.findall(thread)
    return int(found[-1]) if found else 0
