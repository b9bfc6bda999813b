"""Images built by buildah and run by podman and runc, where there is no Docker and no registry."""

import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.baking import TEMPLATE
from twinport.testing import Running

# Kept, so that the base and what pip fetched are quick the next time; podman knows it by its path.
FOLDER = (TEMPLATE / ".build/image").resolve()
STORAGE = ("--root", FOLDER / "storage", "--runroot", FOLDER / "run")
BUILD = ("--isolation=chroot", "--network=host", "--format=docker", "--layers")
# Not by systemd, which need not run here; and within what a container may be allowed to have.
RUN = (
    "--network=host",
    "--no-healthcheck",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=1000:1000",
)
RESTRICTED = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--memory=256m")
OFFICIAL = "docker.io/library/python:3.13-slim-bookworm"
STAND_IN = "localhost/python"
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
DEBIAN = "--include=ca-certificates,python3,python3-pip,python3-venv"


def buildah(*words: str | Path) -> str:
    """Run buildah; return what it printed."""
    return _done("buildah", *STORAGE, *words)


def podman(*words: str | Path) -> str:
    """Run podman, by runc and without systemd; return what it printed."""
    return _done(*podman_command(), *words)


def podman_command() -> Sequence[str | Path]:
    """Return what a command of podman begins with."""
    return ("podman", *STORAGE, "--cgroup-manager=cgroupfs", "--runtime=runc")


def _done(*words: str | Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout.strip()  # podman's own complaints, of no systemd, are in the other one


def base() -> str:
    """Return the base of a service's image, or one that has Debian's own Python."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with suppress(AssertionError):
        buildah("pull", "--quiet", OFFICIAL)
        return OFFICIAL
    root = FOLDER / "rootfs.tar"
    if not root.exists():
        _done("mmdebstrap", "--quiet", "--variant=minbase", DEBIAN, "bookworm", root)
    (FOLDER / AUTHORITIES.name).write_bytes(AUTHORITIES.read_bytes())
    file = Path(__file__).with_name("stand-in.Dockerfile")
    buildah("bud", *BUILD, "--file", file, "--tag", STAND_IN, FOLDER)
    return STAND_IN


def build(service: Path, base: str, name: str, **arguments: str) -> None:
    """Build the image of a service as its Dockerfile says."""
    file = service / "deploy/Dockerfile"
    given = [f"--build-arg={key}={value}" for key, value in ({"BASE": base} | arguments).items()]
    index = Path("/etc/pip.conf")  # where this machine says which index there is
    given += [f"--volume={index}:{index}:ro"] if index.exists() else []
    context = ("--ignorefile", f"{file}.dockerignore", "--file", file, "--tag", name, service)
    buildah("bud", *BUILD, "--pull-never", *given, *context)


def described(image: str) -> dict[str, Any]:
    """Return what an image says of itself."""
    (description,) = json.loads(podman("image", "inspect", image))
    return dict(description)


def layers_of(image: str, base: str) -> list[int]:
    """Return the bytes of each layer that an image adds to its base, empty ones left out."""
    added = json.loads(podman("history", "--format=json", image))
    known = {each["id"] for each in json.loads(podman("history", "--format=json", base))}
    return [each["size"] for each in added if each["id"] not in known and each["size"]]


def started(name: str, image: str, *words: str, **environment: object) -> Running:
    """Start a container, restricted as in a cluster; its log is that of `podman run`."""
    given = [f"--env={key}={value}" for key, value in environment.items()]
    container = (*RUN, *RESTRICTED, *given, "--name", name, image, *words)
    return Running(
        [*podman_command(), "run", "--rm=false", "--replace", *container], TEMPLATE, os.environ
    )


def stop(name: str) -> None:
    """Send SIGTERM to process 1, as a cluster does, and to nobody else."""
    podman("kill", "--signal=TERM", name)


def remove(name: str) -> None:
    """Remove a container, whatever it is doing."""
    subprocess.run([*podman_command(), "rm", "--force", name], check=False, capture_output=True)
