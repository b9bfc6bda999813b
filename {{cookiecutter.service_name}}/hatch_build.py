"""Generates the code of proto/: for a wheel of the service or of its client, and into src/.

Run by `make proto`, and by whatever builds a wheel or installs the service: hatchling, pip, uv.
In the client's wheel the code keeps its place, `<package>/<feature>/v1`, in a package without
`__init__`: where the service can be imported, too, Python finds the service's copy, so only one is
loaded.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HOME = Path(__file__).parent
KINDS = ("python_out=", "grpc_python_out=", "mypy_out=quiet:", "mypy_grpc_out=quiet:")
UNEDITED = re.compile(r"_pb2(_grpc)?\.pyi?$|\.py[cod]$|~$|/\.[^/]*$")  # backups of editors, too


class Hook(BuildHookInterface[Any]):
    """What hatchling asks, once for each wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate the code, and name it as part of the wheel; an editable one has it in src/."""
        self._folder = TemporaryDirectory()
        if version == "editable":
            generate(HOME / "src")
            return
        to = Path(self._folder.name)
        generate(to)
        for folder in {path.parent for path in to.rglob("*_pb2.py")}:
            (folder / "py.typed").touch()
        for each in to.iterdir():
            build_data["force_include"][str(each)] = each.name

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Forget the folder of the code."""
        self._folder.cleanup()


def generate(to: Path) -> None:
    """Write the code of all that is in proto/, with its types, in place of what was there."""
    for old in to.rglob("*_pb2*.py*"):
        old.unlink()
    protos = [str(path) for path in (HOME / "proto").rglob("*.proto")]
    if not protos:
        return
    kinds = (f"--{kind}{to}" for kind in KINDS)
    plugins = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{HOME / 'proto'}", *kinds, *protos]
    subprocess.run(command, env=os.environ | {"PATH": plugins}, check=True)


def is_edited(_change: object, path: str) -> bool:
    """Tell `make dev` whether somebody edited that file, or one in that new folder."""
    place = Path(path)
    files = [each for each in place.rglob("*") if each.is_file()] if place.is_dir() else [place]
    return any(not UNEDITED.search(str(each)) for each in files)


if __name__ == "__main__":
    generate(HOME / "src")
