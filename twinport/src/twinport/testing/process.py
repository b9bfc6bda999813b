"""A service as a process of its own: started, ready, stopped. Needs the standard library alone."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from ..service.ports import Ports

FREE: Mapping[str, object] = {  # ports of this machine only, and a log that programs can read
    "http.host": "127.0.0.1",
    "http.port": 0,
    "grpc.host": "127.0.0.1",
    "grpc.port": 0,
    "management.host": "127.0.0.1",
    "management.port": 0,
    "traces.exporter": "none",
    "lifecycle.drain": "0s",
    "logs.sinks.console.format": "json",
}
READY_S, STOP_S, FOLLOWING_S = 30.0, 30.0, 2.0  # on a machine that does other things, too
ASKING_S = 0.01
# What `make`, pytest, a virtual environment and settings of a service leave for child processes.
FOREIGN = re.compile(
    r"MAKE|MFLAGS|PYTEST_|OTEL_|VIRTUAL_ENV$|PYTHONPATH$|[A-Z]\w*(__\w+|_ENV|_SECRETS)$"
)


class NotLoggedError(Exception):
    """A process did not log what somebody waits for; the text is one line."""


class Running:
    """A started process; `lines` are the records of its log so far, `output` is all it wrote.

    It leads a process group of its own, so that Ctrl-C is the caller's. Leaving the context stops
    it.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = folder.name
        self.lines: list[dict[str, Any]] = []
        self.output: list[str] = []
        self._news = threading.Condition()
        self._is_read = False  # to its end
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=own_environment() if environment is None else environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ports(self) -> Ports:
        """Wait until it is ready; raises NotLoggedError."""
        return ports_in(self.logged("ready"))

    def logged(self, message: str, times: int = 1, seconds: float = READY_S) -> dict[str, Any]:
        """Wait for so many records whose message begins so; raises NotLoggedError."""
        found = self._wait_for(lambda: records_of(message, self.lines)[times - 1 :], seconds)
        if not found:
            raise NotLoggedError(f"{self.name} did not log {message!r}; {self._last_line()}")
        return found[0]

    def wait_until(self, is_ready: Callable[[], object], seconds: float = READY_S) -> None:
        """Ask until it is, for what logs no record of it; raises TimeoutError, also if it ends."""
        until = time.monotonic() + seconds
        while not is_ready():
            if time.monotonic() > until or not self._reader.is_alive():
                raise TimeoutError(f"{self.name} is not ready; {self._last_line()}")
            time.sleep(ASKING_S)

    def terminate(self) -> None:
        """Ask it to stop, as Kubernetes does."""
        self._process.terminate()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group, as a terminal does."""
        with suppress(ProcessLookupError, PermissionError):  # macOS says so of one that has ended
            os.killpg(self.pid, number)

    def stop(self, seconds: float = STOP_S) -> int:
        """Ask it to stop; return the exit status."""
        self.terminate()
        return self.exit_status(seconds)

    def exit_status(self, seconds: float = STOP_S) -> int:
        """Wait for the end and for the last line; after `seconds` it is killed.

        Nothing of the group is left: who has not followed its leader is killed, too.
        """
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            self._reader.join(FOLLOWING_S)
        self.signal(signal.SIGKILL)
        self._reader.join()
        return self._process.wait()

    def _last_line(self) -> str:
        return f"its last line: {' '.join(self.output[-1:])}"

    def _wait_for(
        self, look: Callable[[], list[dict[str, Any]]], seconds: float
    ) -> list[dict[str, Any]]:
        with self._news:
            self._news.wait_for(lambda: look() or self._is_read, seconds)
            return look()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._news:
                self.output.append(line.rstrip("\n"))
                self.lines += record_in(line)
                self._news.notify_all()
        self._process.stdout.close()
        with self._news:
            self._is_read = True
            self._news.notify_all()


def running(
    command: Sequence[str | Path],
    folder: Path,
    settings: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Running:
    """Start a service, by a `command` such as [".venv/bin/order-book", "run"] in its folder.

    `settings` go on the command line, such as {"orders.page_size": 2}; FREE are below them. It
    sees `environment`, by default our own without what is meant for others.
    """
    return Running([*command, *options({**FREE, **(settings or {})})], folder, environment)


def own_environment() -> dict[str, str]:
    """Return the variables of this process without what is not meant for one that it starts."""
    return {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}


def options(settings: Mapping[str, object]) -> list[str]:
    """Return what sets them on the command line of a service."""
    return [f"--set={name}={_written(value)}" for name, value in settings.items()]


def record_in(line: str) -> list[dict[str, Any]]:
    """Return the record that a line of a log is, if it is one."""
    with suppress(ValueError):
        record = json.loads(line)
        return [record] if isinstance(record, dict) else []
    return []


def records_of(message: str, lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records whose message begins so."""
    return [line for line in lines if str(line.get("message")).startswith(message)]


def ports_in(ready: Mapping[str, Any]) -> Ports:
    """Return the ports that a record of the log names."""
    return Ports(**{name: int(ready["labels"][name]) for name in Ports._fields})


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
