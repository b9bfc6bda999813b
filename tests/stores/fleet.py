"""Replicas of a service as processes, and load on them."""

import json
import signal
import subprocess
from pathlib import Path
from select import select
from typing import Any, Self

from twinport.testing import free_port, own_environment, running

LOAD = Path(__file__).with_name("load.py")
PACKAGE = "order_book"
PATIENCE_S = 180


class Replica:
    """A process on ports of its own, which it keeps when it is started again.

    Several are started at once, then it is waited for each.
    """

    def __init__(self, service: Path, url: str, sources: Path | None = None) -> None:
        self._service, self._url = service, url
        self._sources = sources or service / "src"
        self.ports = {name: free_port() for name in ("http", "grpc", "management")}
        self.start()

    def start(self) -> None:
        settings: dict[str, object] = {"database.url": self._url}
        settings |= {f"{name}.port": port for name, port in self.ports.items()}
        command = [python_of(self._service), "-m", PACKAGE, "run"]
        variables = own_environment() | {"PYTHONPATH": str(self._sources)}
        self.process = running(command, self._service, settings, variables)

    def ready(self) -> None:
        self.process.logged("ready", seconds=PATIENCE_S)

    def kill(self) -> None:
        self.process.signal(signal.SIGKILL)
        self.process.exit_status()

    def stop(self) -> int:
        return self.process.stop(PATIENCE_S)


class Load:
    """Calls of all replicas, until `ended`."""

    def __init__(self, service: Path, replicas: list[Replica], workers: int = 8) -> None:
        asked = {"package": PACKAGE, "ports": [each.ports for each in replicas], "workers": workers}
        self._process = subprocess.Popen(
            [python_of(service), str(LOAD), json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=own_environment(),
            text=True,
        )
        self._says("begun")  # to all replicas, or one of them has ended

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def calls_end(self) -> None:
        """Wait until the calls that are under way have ended, whatever else happens."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._says("ended")

    def _says(self, word: str) -> None:
        assert self._process.stdout
        ready, _, _ = select([self._process.stdout], [], [], PATIENCE_S)
        assert ready, f"calls have not {word}"
        assert self._process.stdout.readline() == f"{word}\n"

    def ended(self) -> dict[str, Any]:
        """Return what came of it."""
        said, _ = self._process.communicate("", timeout=PATIENCE_S)
        result: dict[str, Any] = json.loads(said)
        return result


def python_of(service: Path) -> Path:
    return service / ".venv/bin/python"


def migrate(service: Path, url: str, sources: Path | None = None) -> str:
    """Run the command; return what it said."""
    done = subprocess.run(
        [python_of(service), "-m", PACKAGE, "migrate", f"--set=database.url={url}"],
        cwd=service,
        env=own_environment() | {"PYTHONPATH": str(sources or service / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def is_right(result: dict[str, Any]) -> None:
    """Compare what came of a load with what a store promises."""
    assert result["answered"]
    for fault in ("lost", "kept_twice", "answered_differently", "missed_by_a_watch"):
        assert result[fault] == [], fault
    assert result["seen_twice"] == 0
    assert {"INTERNAL", "UNKNOWN", "ALREADY_EXISTS"}.isdisjoint(result["errors"])
