"""The two services: baked, installed by their own `make install`, started on free ports."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from twinport.testing import Running, own_environment, running

TEMPLATE = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent  # holds uv, whose cache makes the second installation quick
ORDER_BOOK, CHECKOUT = "order-book", "checkout"
SERVICES = {ORDER_BOOK, CHECKOUT}


class DemoError(Exception):
    """The demo cannot go on; the text is one line."""


def installed(folder: Path) -> tuple[Path, Path]:
    """Return the folders of both services, ready to start; raises DemoError."""
    with told(f"baking {ORDER_BOOK} and {CHECKOUT} in {folder}"):
        order_book, checkout = bake(ORDER_BOOK, folder), bake(CHECKOUT, folder)
        replace_feature(checkout, Path(__file__).parent / CHECKOUT)
    with told(f"installing {ORDER_BOOK}; the first time this takes a minute or two"):
        make(order_book, "install")
    with told(f"building the package with which others call {ORDER_BOOK}"):
        make(order_book, "client")
    with told(f"installing {CHECKOUT} and that package"):
        make(checkout, ".venv/.installed")
        install_wheel(checkout, order_book / "dist")
        make(checkout, "install")
    return order_book, checkout


@contextmanager
def serving(order_book: Path, checkout: Path, endpoint: str) -> Iterator[tuple[Running, Running]]:
    """Keep both services running, checkout first; their spans go to `endpoint`."""
    with ExitStack() as services:
        with told("starting both on free ports"):
            called = services.enter_context(started(order_book, spans_to(endpoint)))
            target = {"clients.order-book.target": f"localhost:{called.ports().grpc}"}
            calling = services.enter_context(started(checkout, spans_to(endpoint) | target))
            calling.ports()
        yield calling, called


def started(project: Path, settings: dict[str, object], **variables: str) -> Running:
    """Return a service that starts; leaving its context stops it."""
    seen = environment() | variables
    return running([f".venv/bin/{project.name}", "run"], project, settings, seen)


def spans_to(endpoint: str) -> dict[str, object]:
    """Return the settings by which spans get to the Zipkin, real or fake, at `endpoint`."""
    return {"traces.exporter": "zipkin", "traces.endpoint": endpoint}


def bake(name: str, folder: Path) -> Path:
    """Bake a service anew; of an earlier run its installation is kept. Raises DemoError."""
    project = folder / name
    for path in project.iterdir() if project.exists() else ():
        if path.name != ".venv":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    options = ["--no-input", "--overwrite-if-exists", "--output-dir", str(folder)]
    answers = (f"service_name={name}", "store=memory")
    _run([str(TOOLS / "cookiecutter"), *options, str(TEMPLATE), *answers], TEMPLATE)
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
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    if process.returncode != 0:
        lines = (process.stderr or process.stdout).strip().splitlines()
        raise DemoError(f"{' '.join(command[:3])} in {folder}: {' '.join(lines[-1:])}")
    return process.stdout


def environment() -> dict[str, str]:
    """Return what a service and its `make` see: our own tools are among them.

    A start compiles what it imports, which is a small part of what is installed.
    """
    path = {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}
    return own_environment() | path | {"UV_COMPILE_BYTECODE": "0"}
