"""Two services: baked, installed by their own `make install`, started, stopped."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cookiecutter.main import cookiecutter

TEMPLATE = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent  # holds uv, whose cache makes the second installation quick
STOP_S, START_S = 15, 30


class DemoError(Exception):
    """The demo cannot go on; the text is one line."""


def bake(name: str, folder: Path) -> Path:
    """Bake a service anew; only its installation is kept from an earlier run."""
    project = folder / name
    for path in project.iterdir() if project.exists() else ():
        if path.name != ".venv":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = {"service_name": name}
    cookiecutter(
        str(TEMPLATE),
        no_input=True,
        output_dir=str(folder),
        extra_context=said,
        overwrite_if_exists=True,
        accept_hooks=False,
    )
    return project


def replace_feature(project: Path, addition: Path) -> None:
    """Put the feature of `addition` in the place of the one that every bake begins with."""
    package = addition.name
    for example in (project / "src" / package / "orders", project / "proto" / package / "orders"):
        shutil.rmtree(example)
    shutil.copytree(addition, project, dirs_exist_ok=True)


def make(project: Path, *targets: str) -> None:
    """Run `make`; raises DemoError with the last line that it said."""
    _run(["make", *targets], project)


def install_wheel(project: Path, wheels: Path) -> None:
    """Install what another service's `make client` has built; raises DemoError."""
    (wheel,) = wheels.glob("*_client-*.whl")
    python = str(project / ".venv/bin/python")
    options = ["--quiet", "--no-deps", "--reinstall", "--python", python]
    _run([str(TOOLS / "uv"), "pip", "install", *options, str(wheel)], project)


class Running:
    """A started service; `lines` are its log records so far."""

    def __init__(self, project: Path, settings: dict[str, Any]) -> None:
        self.name, self.project = project.name, project
        self.lines: list[dict[str, Any]] = []
        self.said: list[str] = []
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            [f".venv/bin/{self.name}", "run", *(f"--set={k}={v}" for k, v in settings.items())],
            cwd=project,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is ours; we tell the services
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ports(self) -> dict[str, int]:
        """Wait until it is ready; raises DemoError."""
        with self._news:
            self._news.wait_for(lambda: self._ready() or not self._reader.is_alive(), START_S)
        if not self._ready():
            raise DemoError(f"{self.name} did not start: {' '.join(self.said[-1:])}")
        return {name: int(port) for name, port in self._ready()[0]["labels"].items()}

    def stop(self) -> int:
        """Ask it to stop, and end it if it does not; return its exit status."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        return self._process.returncode

    def _ready(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["message"].startswith("ready")]

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._news:
                self._keep(line)
                self._news.notify_all()

    def _keep(self, line: str) -> None:
        self.said.append(line.strip())
        if line.startswith("{"):
            self.lines.append(json.loads(line))


@contextmanager
def running(project: Path, settings: dict[str, Any]) -> Iterator[Running]:
    """Keep a service running."""
    service = Running(project, settings)
    try:
        yield service
    finally:
        service.stop()


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    print(f"{what} ...", end="", flush=True)
    began = time.monotonic()
    try:
        yield
    except BaseException:
        print()
        raise
    print(f" {time.monotonic() - began:.1f} s", flush=True)


def call(project: Path, *arguments: str) -> str:
    """Return what the service's own command says; raises DemoError."""
    return _run([f".venv/bin/{project.name}", *arguments], project)


def _run(command: list[str], folder: Path) -> str:
    process = subprocess.run(
        command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False
    )
    if process.returncode != 0:
        lines = (process.stderr or process.stdout).strip().splitlines()
        raise DemoError(f"{' '.join(command[:3])} in {folder}: {' '.join(lines[-1:])}")
    return process.stdout


def _environment() -> dict[str, str]:
    """Return the environment without what `make` and a virtual environment put there."""
    foreign = ("MAKE", "MFLAGS", "VIRTUAL_ENV", "PYTHONPATH", "ORDER_BOOK", "CHECKOUT", "OTEL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}
