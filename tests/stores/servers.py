"""PostgreSQL and Redis as Debian packages them, in folders of their own."""

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from twinport.testing import free_port

OWNER = "postgres"  # a user that Debian's package makes: PostgreSQL refuses to run as root
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
PATIENCE_S, STEP_S = 120, 0.05
HOST = "127.0.0.1"


class Server(ABC):
    """A server that a test starts and stops, and lets be silent with all connections open."""

    url: str  # as a service is told
    settings: dict[str, object]
    farewell: int  # the signal by which it ends, whoever is connected

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()

    @abstractmethod
    def command(self) -> Sequence[str | Path]: ...

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        until = time.monotonic() + PATIENCE_S
        while not self.answers():
            assert time.monotonic() < until, (self.folder / "log").read_text()
            time.sleep(STEP_S)

    def stop(self) -> None:
        self._process.send_signal(self.farewell)
        self._process.wait(PATIENCE_S)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all its processes."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for pid in (self._process.pid, *map(int, children.read_text().split())):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    @abstractmethod
    def answers(self) -> bool: ...


class Redis(Server):
    """Redis, as docs/store.md of a service wants it."""

    farewell = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.url = f"redis://{HOST}:{self.port}/0"

    def command(self) -> list[str]:
        place = ("--bind", HOST, "--port", str(self.port), "--dir", str(self.folder))
        return ["redis-server", *place, "--appendonly", "yes", "--appendfsync", "always"]

    def answers(self) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self.port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False


class Postgresql(Server):
    """PostgreSQL, as it comes."""

    farewell = signal.SIGINT  # fast: who is connected is sent away

    def __init__(self, folder: Path, host: str = HOST, inside: Sequence[str | Path] = ()) -> None:
        """With `host` its address, and `inside` what a command begins with to run where that is."""
        super().__init__(folder)
        self.url = f"postgresql://{OWNER}@{host}:{self.port}/postgres"
        self._host, self._inside = host, inside
        self._data = folder / "data"
        self._data.mkdir()
        if os.getuid() == 0:
            subprocess.run(["chown", OWNER, self._data], check=True)
        made = [*as_owner(), *self._tool("initdb"), "--auth=trust", f"--username={OWNER}"]
        subprocess.run(made, check=True, capture_output=True, cwd="/")

    def admit(self, network: str) -> None:
        """Let everybody of a network in, not only this machine."""
        with (self._data / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {network} trust\n")

    def command(self) -> list[str | Path]:
        place = ("-p", str(self.port), "-k", str(self._data), "-h", self._host)
        return [*self._inside, *as_owner(), *self._tool("postgres"), *place]

    def answers(self) -> bool:
        ready = (BINARIES[-1] / "pg_isready", "-q", "-h", self._host, "-p", str(self.port))
        return subprocess.run([*self._inside, *ready], check=False).returncode == 0

    def _tool(self, name: str) -> list[str]:
        return [str(BINARIES[-1] / name), "-D", str(self._data)]


def as_owner() -> list[str]:
    if os.getuid():
        return []
    return ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups"]
