"""What the tests of the template share: where it is, and commands run as its users run them."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cookiecutter.main import cookiecutter

from twinport.testing import own_environment

TEMPLATE = Path(__file__).parents[1]
SERVICE = TEMPLATE / "{{cookiecutter.service_name}}"
TOOLS = Path(sys.executable).parent  # where the template's own tools are: cookiecutter, cruft, uv

NAMES = ["order-book", "a", "a-service-with-a-rather-long-name-42"]
STORES = ["sql", "redis", "memory"]
BAKES = [  # each answer once, with each kind of name, and two mixtures
    {"service_name": NAMES[0], "store": "sql", "ci": "github"},
    {"service_name": NAMES[1], "store": "redis", "ci": "gitlab"},
    {"service_name": NAMES[2], "store": "memory", "ci": "none"},
    {"service_name": NAMES[0], "store": "redis", "ci": "none"},
    {"service_name": NAMES[0], "store": "memory", "ci": "gitlab"},
]

Bake = Callable[..., Path]
Run = Callable[..., str]


def command(*words: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; all that it prints is in `stdout`."""
    return subprocess.run(
        words,
        cwd=cwd,
        env=variables() | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


# Of what is installed for one test, most is never imported, so nothing is compiled before it is.
UNCOMPILED = {"UV_COMPILE_BYTECODE": "0", "PIP_NO_COMPILE": "1"}


def installed_in(folder: Path, *options: str, **answers: str) -> Path:
    """Bake a service and install it, with what is there already of an earlier one."""
    place = {"output_dir": str(folder), "overwrite_if_exists": True}
    service = Path(cookiecutter(str(TEMPLATE), no_input=True, extra_context=answers, **place))
    done = command("make", *options, "install", cwd=service, **UNCOMPILED)
    assert done.returncode == 0, done.stdout
    return service


def uncomment_monitoring(service: Path) -> None:
    """Uncomment, in the production overlay, what the operator of Prometheus reads."""
    overlay = service / "deploy/kubernetes/overlays/production/kustomization.yaml"
    text = overlay.read_text(encoding="utf-8")
    commented = re.compile("^# (components:|  - )", re.MULTILINE)
    overlay.write_text(commented.sub(r"\1", text), encoding="utf-8")


def variables() -> dict[str, str]:
    """Return the environment of a command: without ours, and with the template's own tools."""
    return own_environment() | {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}


def copy_of_template(to: Path) -> Path:
    """Copy the template, without what was installed or made there."""
    made = (".git", ".venv", ".build", "dist", ".*_cache", "__pycache__", ".hypothesis")
    return shutil.copytree(TEMPLATE, to, ignore=shutil.ignore_patterns(*made))


def commit(run: Run, folder: Path, message: str = "Start") -> None:
    """Commit all that is in `folder`, which becomes a repository if it is none."""
    who = ("-c", "user.name=Tea", "-c", "user.email=tea@example.org")
    run("git", "init", "--quiet", "--initial-branch=main", cwd=folder)
    run("git", "add", ".", cwd=folder)
    run("git", *who, "commit", "--quiet", "--message", message, cwd=folder)


def locked(path: Path) -> dict[str, str]:
    """Return the version of each name, with the condition that follows it."""
    return dict(re.findall(r"^([\w.-]+)==(.+) \\$", path.read_text(encoding="utf-8"), re.MULTILINE))


def entry_of(name: str, lock: str) -> str:
    """Return what a lock has of one package: its version and hashes."""
    (entry,) = re.findall(rf"^{name}==.*\n(?: .*\n)+", lock, re.MULTILINE)
    return str(entry)
