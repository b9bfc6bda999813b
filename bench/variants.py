"""What is measured: the same call, bare, in the usual assembly and in a baked service."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
TALK = {"hypercorn": "h2", "uvicorn": "h1", "granian": "h2", "grpc": "grpc"}
SERVERS = tuple(TALK)
PORTS = ("http", "grpc", "management")


class Variant(NamedTuple):
    """One process to measure; `assembly` is bare, usual or ours, `ratio` that of sampling.

    `without` is a part of ours that is left out, one of those of servers/without.py.
    """

    assembly: str
    server: str
    ratio: float = 0.01
    without: str = ""

    @property
    def name(self) -> str:
        """Say what it is."""
        sampling = "" if self.assembly == "bare" else f" {self.ratio:.0%}"
        without = f" without {self.without}" if self.without else ""
        return f"{self.server} {self.assembly}{sampling}{without}"

    def command(self, port: int) -> list[str]:
        """Return what starts it on `port`, without the interpreter."""
        if self.assembly != "ours":
            script = str(HERE / "servers" / f"{self.assembly}.py")
            return [script, self.server, str(port), str(self.ratio)]
        without = [str(HERE / "servers" / "without.py"), self.without]
        service = without if self.without else ["-m", "order_book"]
        return [*service, "run", "--env=production", *self._settings(port)]

    def _settings(self, port: int) -> list[str]:
        """Return production's settings, but for where it listens and where spans go."""
        own = "grpc" if self.server == "grpc" else "http"
        settings: dict[str, object] = {f"{name}.port": 0 for name in PORTS}
        settings |= {f"{name}.host": "127.0.0.1" for name in PORTS} | {f"{own}.port": port}
        settings |= {"traces.sample_ratio": self.ratio, "traces.exporter": "none"}
        settings["lifecycle.drain"] = "0s"  # else each end takes five seconds
        if own == "http":
            settings["http.server"] = self.server
        return [f"--set={name}={value}" for name, value in settings.items()]


def environment() -> dict[str, str]:
    """Return variables under which two runs do the same."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(HERE / "seeded")}


def python() -> str:
    """Return the interpreter that has the libraries of the baked service: this one."""
    return sys.executable


def service() -> Path:
    """Return the folder of the baked service, whose interpreter this is."""
    return Path(sys.prefix).parent
