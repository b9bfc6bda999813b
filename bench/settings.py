"""What a baked service pays for its settings.

Milliseconds to read, merge and check all layers, once the modules are imported, in a fresh process
(which a start pays) and then once more (which SIGHUP pays).
"""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

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


def reading(service: Path, runs: int) -> tuple[float, float]:
    """Return the medians of both times, of so many fresh processes."""
    (settings,) = service.glob("src/*/settings.py")
    command = [sys.executable, "-c", PROBE, settings.parent.name, "production"]
    times = [measured(command, service) for _ in range(runs)]
    first, again = (median(each) for each in zip(*times, strict=True))
    return first, again


def measured(command: list[str], service: Path) -> list[float]:
    """Return the milliseconds of both times in a process of its own."""
    path = {"PYTHONPATH": str(service / "src")}
    done = subprocess.run(
        command, cwd=service, env=path, capture_output=True, text=True, check=True
    )
    times: list[float] = json.loads(done.stdout)
    return times
