"""Adds the code generated from proto/ to the wheel, where the service has it.

It keeps its place, `<package>/<feature>/v1`, in a package without `__init__`: where the service
itself can be imported too, Python finds the service's copy, so only one is loaded.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Hook(BuildHookInterface[Any]):
    """Run by `python -m hatchling build`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Generate the code, and name it as part of the wheel."""
        self._generated = TemporaryDirectory()
        generate(Path(self.root).parent / "proto", Path(self._generated.name))
        for folder in Path(self._generated.name).iterdir():
            build_data["force_include"][str(folder)] = folder.name

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Forget the generated code."""
        self._generated.cleanup()


def generate(protos: Path, to: Path) -> None:
    """Write the code of all `protos`, with its types."""
    kinds = (f"--{kind}={to}" for kind in ("python_out", "grpc_python_out"))
    typed = (f"--{kind}=quiet:{to}" for kind in ("mypy_out", "mypy_grpc_out"))
    tool = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", *kinds, *typed]
    subprocess.run([*tool, *map(str, protos.rglob("*.proto"))], check=True)
    for folder in {path.parent for path in to.rglob("*_pb2.py")}:
        (folder / "py.typed").touch()
