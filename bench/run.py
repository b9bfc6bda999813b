"""Print the tables of docs/cost.md, or write them into it.

Sections, all but `peers` unless some are named: see SECTIONS.
"""

import argparse
import importlib
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from atload import FULL, QUICK, Effort
from running import BenchError
from tables import Part, put

SECTIONS = {
    "start": ("start", "start"),
    "instructions": ("calls", "counted"),
    "parts": ("parts", "parts"),
    "processor": ("calls", "one_at_a_time"),
    "load": ("calls", "at_once"),
    "streams": ("streams", "streams"),
    "watches": ("watches", "watches"),
    "pages": ("growth", "pages"),
    "routes": ("growth", "routes"),
    "connections": ("growth", "connections"),
    "replicas": ("replicas", "replicas"),
    "stores": ("stores", "stores"),
    "peers": ("peers", "peers"),
}
OWN = [name for name in SECTIONS if name != "peers"]  # which needs Go and Node


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"of: {', '.join(SECTIONS)}")
    parser.add_argument("--all", action="store_true", help="also `peers`")
    parser.add_argument("--quick", action="store_true", help="shorter, to see that all runs")
    parser.add_argument("--into", type=Path, help="the page that shows them")
    asked = parser.parse_args()
    sections = asked.sections or (list(SECTIONS) if asked.all else OWN)
    try:
        for part in parts(sections, QUICK if asked.quick else FULL):
            show(part, asked.into)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def parts(names: Sequence[str], effort: Effort) -> Iterator[Part]:
    """Yield what each section measures; raises BenchError."""
    unknown = ", ".join(name for name in names if name not in SECTIONS)
    if unknown:
        raise BenchError(f"no such section: {unknown}; there are {', '.join(SECTIONS)}")
    yield machine()
    for name in names:
        module, function = SECTIONS[name]
        yield from getattr(importlib.import_module(module), function)(effort)


def machine() -> Part:
    """Say what the figures were measured on."""
    cores = len(os.sched_getaffinity(0))
    return Part("machine", f"Python {platform.python_version()}, {cores} cores, {_model()}.")


def _model() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def show(part: Part, page: Path | None) -> None:
    """Print a part, and write it into its place."""
    print(f"{part.name}\n\n{part.text}\n", flush=True)
    if page is not None:
        put(page, part)


if __name__ == "__main__":
    sys.exit(main())
