"""Has a call become dearer? A small run of ours and of bare, against accepted.json.

Fails if a ratio has risen by more than 3 %; with --accept, writes down what it is now.
"""

import argparse
import json
import sys
from pathlib import Path

from instructions import Counts, instructions
from running import BenchError
from variants import Variant

ACCEPTED = Path(__file__).with_name("accepted.json")
SERVERS, RISE = ("hypercorn", "uvicorn", "granian", "grpc"), 1.03

Ratios = dict[str, float]


def main() -> int:
    """Return the exit status: 1 if something has become dearer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accept", action="store_true", help="write the new figures down")
    accept = parser.parse_args().accept
    try:
        ratios = measured()
    except BenchError as error:
        print(f"cost: {error}", file=sys.stderr)
        return 1
    if accept:
        ACCEPTED.write_text(json.dumps(ratios, indent=2) + "\n")
        return 0
    return judged(ratios, json.loads(ACCEPTED.read_text()))


def measured() -> Ratios:
    """Return instructions of ours for each one of bare, by server."""
    variants = [Variant(which, server) for server in SERVERS for which in ("bare", "ours")]
    counts = instructions(variants)
    for variant, count in counts.items():
        print(f"cost: {variant.name}: {count:.1f} thousand instructions per call", flush=True)
    return {server: _ratio(counts, server) for server in SERVERS}


def judged(ratios: Ratios, accepted: Ratios) -> int:
    """Say how each ratio compares, and return the exit status."""
    dearer = [name for name, ratio in ratios.items() if ratio > accepted[name] * RISE]
    for name, ratio in ratios.items():
        print(f"cost: {name} {ratio:.3f} x bare, accepted {accepted[name]:.3f} (+3 % fails)")
    if dearer:
        print(f"cost: dearer: {', '.join(dearer)}; if that is meant: make cost-accept")
    return 1 if dearer else 0


def _ratio(counts: Counts, server: str) -> float:
    return round(counts[Variant("ours", server)] / counts[Variant("bare", server)], 4)


if __name__ == "__main__":
    sys.exit(main())
