"""Measure what a baked service pays for its settings, with the Python that has its libraries.

Prints one line: milliseconds to read, merge and check all layers, once the modules are imported,
in a fresh process (which a start pays) and then once more (which SIGHUP pays).
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

RUNS = 7
LIMIT_MS = 30
PROBE = """
import importlib, json, sys, time
package, environment = sys.argv[1:]
model = importlib.import_module(f"{package}.settings").Settings
settings = importlib.import_module("twinport.settings")
sources = settings.Sources(package, environment=environment)
took = []
for _ in range(2):
    start = time.perf_counter()
    settings.load(model, sources)
    took.append((time.perf_counter() - start) * 1000)
print(json.dumps(took))
"""


def main() -> None:
    """Print the medians of several fresh processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service", type=Path, help="folder of a baked service")
    service = parser.parse_args().service.resolve()
    (settings,) = service.glob("src/*/settings.py")
    command = [sys.executable, "-c", PROBE, settings.parent.name, "production"]
    runs = [measured(command, service) for _ in range(RUNS)]
    first, again = (median(each) for each in zip(*runs, strict=True))
    print(f"settings: {first:.1f} ms at the start (limit {LIMIT_MS}), {again:.1f} ms once more")


def measured(command: list[str], service: Path) -> list[float]:
    """Return the milliseconds of both times in a process of its own."""
    path = {"PYTHONPATH": str(service / "src")}
    done = subprocess.run(
        command, cwd=service, env=path, capture_output=True, text=True, check=True
    )
    times: list[float] = json.loads(done.stdout)
    return times


if __name__ == "__main__":
    main()
