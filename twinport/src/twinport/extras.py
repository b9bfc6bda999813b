"""Optional parts: names that load when first used (PEP 562), and the extra each of them needs."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from itertools import accumulate
from typing import Any

from .errors import StartupError

SERVER, TESTING = "server", "testing"
EXTRAS = {  # of this distribution, by the package that they bring
    "cryptography": SERVER,
    "fastapi": SERVER,
    "grpc_health": SERVER,
    "grpc_reflection": SERVER,
    "h2": SERVER,
    "hypercorn": SERVER,
    "hyperframe": SERVER,
    "opentelemetry.instrumentation.asgi": SERVER,
    "prometheus_client": SERVER,
    "starlette": SERVER,
    "granian": "granian",
    "jwt": "jwt",
    "pyinstrument": "profile",
    "jsonschema": TESTING,
    "pytest": TESTING,
    "httptools": "uvicorn",
    "uvicorn": "uvicorn",
}


class MissingExtraError(StartupError, ImportError):
    """Something is used that needs an extra of this library which is not installed."""


def part(name: str, what: str, package: str | None = None) -> Any:
    """Import the module `name`, which `what` needs; raises MissingExtraError.

    A name that begins with a dot is relative to `package`.
    """
    try:
        return import_module(name, package)
    except ModuleNotFoundError as error:
        extra = _extra_of(str(error.name))
        if extra is None:
            raise
        problem = f"{what} needs twinport[{extra}]: {error.name} is not installed"
        raise MissingExtraError(problem) from error


def _extra_of(module: str) -> str | None:
    packages = accumulate(module.split("."), "{}.{}".format)
    return next((EXTRAS[package] for package in packages if package in EXTRAS), None)


def lazily(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of `package`; `names` are those of its modules.

    The first raises MissingExtraError where the module needs what is not installed.
    """
    places = {name: module for module, its_names in names.items() for name in its_names}
    module = vars(sys.modules[package])

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module[name] = getattr(part(places[name], f"{package}.{name}", package), name)
        return module[name]  # the next time it is found without asking

    return find, lambda: sorted({*module, *places})
