"""Adds to the wheel the code generated from proto/, and the parts of the runtime that call.

The generated code keeps its place, `<package>/<feature>/v1`, in a package without `__init__`: where
the service itself can be imported too, Python finds the service's copy, so only one is loaded.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS = (
    "__init__.py",
    "errors.py",
    "redact.py",
    "settings",
    "calls/__init__.py",
    "calls/call.py",
    *(
        f"clients/{name}.py"
        for name in (
            "__init__",
            "call",
            "channel",
            "connect",
            "log",
            "outgoing",
            "remote_errors",
            "rpc",
            "rpc_spans",
            "secure_channel",
            "settings",
            "tls",
        )
    ),
    *(f"tls/{name}.py" for name in ("__init__", "files", "outgoing", "pem", "settings")),
)


class Hook(BuildHookInterface[Any]):
    """Run by `python -m hatchling build`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name what belongs into the wheel, and where."""
        client = next(Path(self.root).glob("*_client"))
        package = client.name.removesuffix("_client")
        service, added = Path(self.root).parent, build_data["force_include"]
        for part in PARTS:
            source = service / "src" / package / "runtime" / part
            added[str(source)] = f"{client.name}/runtime/{part}"
        self._generated = TemporaryDirectory()
        generate(service / "proto", Path(self._generated.name))
        for folder in Path(self._generated.name).iterdir():
            added[str(folder)] = folder.name

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
