"""What is measured: the same call, bare, in the usual assembly and in a baked service."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
SERVERS_OF_OTHERS, PEERS = HERE / "servers", HERE / "peers/python"
TALK = {"hypercorn": "h2", "uvicorn": "h1", "granian": "h2", "grpc": "grpc"}
TITLES = {
    "hypercorn": "REST, hypercorn, HTTP/2",
    "uvicorn": "REST, uvicorn, HTTP/1.1",
    "granian": "REST, granian, HTTP/2",
    "grpc": "gRPC",
}
SERVERS = tuple(TALK)
PORTS = ("http", "grpc", "management")


class Variant(NamedTuple):
    """One process to measure; `assembly` is bare, plain, usual or ours, `ratio` that of sampling.

    Plain is bare with all routes of the orders; `routes` more stand before those, of plain and
    ours. `settings` of ours are over those of production. `without` is a part of ours that is
    left out, one of those of servers/without.py.
    """

    assembly: str
    server: str
    ratio: float = 0.01
    routes: int = 0
    settings: tuple[tuple[str, object], ...] = ()
    without: str = ""

    @property
    def name(self) -> str:
        """Say what it is."""
        sampling = f" {self.ratio:.0%}" if self.assembly in {"usual", "ours"} else ""
        without = f" without {self.without}" if self.without else ""
        return f"{self.server} {self.assembly}{sampling}{without}"

    def command(self, port: int) -> list[str]:
        """Return what starts it on `port`, without the interpreter."""
        if self.assembly == "ours":
            return [*self._program(), "run", "--env=production", *self._options(port)]
        script = str(SERVERS_OF_OTHERS / f"{self.assembly}.py")
        return [script, self.server, str(port), str(self.ratio), str(self.routes)]

    def _program(self) -> list[str]:
        if self.routes:
            return [str(SERVERS_OF_OTHERS / "routed.py"), str(self.routes)]
        if self.without:
            return [str(SERVERS_OF_OTHERS / "without.py"), self.without]
        return ["-m", "order_book"]

    def _options(self, port: int) -> Iterator[str]:
        """Return production's settings, but for where it listens and where spans go."""
        own = "grpc" if self.server == "grpc" else "http"
        settings: dict[str, object] = {f"{name}.port": 0 for name in PORTS}
        settings |= {f"{name}.host": "127.0.0.1" for name in PORTS} | {f"{own}.port": port}
        settings |= {"traces.sample_ratio": self.ratio, "traces.exporter": "none"}
        settings["lifecycle.drain"] = "0s"  # else each end takes five seconds
        if own == "http":
            settings["http.server"] = self.server
        settings |= dict(self.settings)
        return (f"--set={name}={value}" for name, value in settings.items())


def environment() -> dict[str, str]:
    """Return variables under which two runs do the same."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    modules = os.pathsep.join(map(str, (HERE / "seeded", SERVERS_OF_OTHERS, PEERS)))
    return kept | {"PYTHONHASHSEED": "0", "PYTHONPATH": modules}


def python() -> str:
    """Return the interpreter that has the libraries of the baked service: this one."""
    return sys.executable


def service() -> Path:
    """Return the folder of the baked service, whose interpreter this is."""
    return Path(sys.prefix).parent
