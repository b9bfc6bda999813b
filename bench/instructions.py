"""Instructions per call, by valgrind's callgrind: they repeat where times scatter.

They are those of user space; what the kernel does is not among them, so processor.py is asked too.
What a process does by itself, for as long as the calls take, is taken off: under valgrind that is
fifty times as long as without it.
Of gRPC they are those of threads in which Python runs. The threads of its core carry the bytes,
whatever the handler does, and wake each other up as they please: 35 to 90 thousand instructions
a call in runs of the same thing, while those of the other threads repeat to 0.3 %.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from running import BenchError, running
from variants import Variant

WARM_UP, WARM_UP_COUNTED, CALLS = 300, 20, 600
CALLED, IDLE = 2, 3  # numbers of dumps; the first ends the warm-up
OPTIONS = (
    "--instr-atstart=no",  # start quickly
    "--separate-threads=yes",
    "--callgrind-out-file=%q{BENCH_OUTPUT}/out",
)
TOTALS = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)
PYTHON = "_PyEval_EvalFrameDefault"
AT_ONCE = 5  # each waits for half of its time

Counts = dict[Variant, float]


def instructions(variants: Sequence[Variant], calls: int = CALLS) -> Counts:
    """Return thousands of instructions per call of each; other processes do not change them.

    One call in a hundred is too few: six of 600, or eight, would be sampled. So a ratio of sampling
    is made up of a run with none and one with all.
    """
    parts = sorted({part for variant in variants for part, _ in _parts(variant)})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        counts = dict(zip(parts, pool.map(lambda part: counted(part, calls), parts), strict=True))
    return {each: sum(counts[part] * share for part, share in _parts(each)) for each in variants}


def _parts(variant: Variant) -> Iterator[tuple[Variant, float]]:
    if variant.assembly == "bare":
        yield variant, 1.0
        return
    for ratio, share in ((0.0, 1 - variant.ratio), (1.0, variant.ratio)):
        if share:
            yield variant._replace(ratio=ratio), share


def counted(variant: Variant, calls: int) -> float:
    """Return thousands of instructions per call of what can be run as it is."""
    if shutil.which("valgrind") is None:
        raise BenchError("valgrind is missing: make bench-tools")
    under = ["valgrind", "-q", "--tool=callgrind", *OPTIONS]
    with running(variant, under) as measured:
        measured.load(WARM_UP)
        control(measured.process.pid, "-i", "on")
        measured.load(WARM_UP_COUNTED)
        control(measured.process.pid, "-d")
        begun = time.monotonic()
        measured.load(calls)
        control(measured.process.pid, "-d")
        time.sleep(time.monotonic() - begun)
        control(measured.process.pid, "-d")
        called, idle = (
            total(measured.folder, dump, variant.server == "grpc") for dump in (CALLED, IDLE)
        )
    if not called:
        raise BenchError("callgrind has counted nothing")
    return (called - idle) / calls / 1000


def control(pid: int, *what: str) -> None:
    """Tell callgrind to count, or to write down its counts and begin again with zero."""
    done = subprocess.run(["callgrind_control", *what, str(pid)], capture_output=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"callgrind_control {what[0]}: {done.stderr.decode().strip()}")


def total(folder: Path, dump: int, only_python: bool) -> int:
    """Return what was counted up to a dump since the one before it, in all threads."""
    threads = [path.read_text(errors="replace") for path in folder.glob(f"out.{dump}-*")]
    found = [TOTALS.findall(text) for text in threads if PYTHON in text or not only_python]
    return sum(int(totals[-1]) for totals in found if totals)
