"""Optional parts: names that load when first used (PEP 562), and the extra each of them needs."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

SERVER, TESTING = "server", "testing"
EXTRAS = {  # by what a module's name begins with
    "fastapi": SERVER,
    "grpc_health": SERVER,
    "grpc_reflection": SERVER,
    "h11": SERVER,
    "h2": SERVER,
    "hypercorn": SERVER,
    "prometheus_client": SERVER,
    "starlette": SERVER,
    "cryptography": SERVER,
    "granian": "granian",
    "jwt": "jwt",
    "pyinstrument": "profile",
    "jsonschema": TESTING,
    "pytest": TESTING,
    "httptools": "uvicorn",
    "uvicorn": "uvicorn",
}


class MissingExtraError(ImportError):
    """Something is used that needs an extra of this library which is not installed."""


def needing(what: str, error: ModuleNotFoundError) -> ImportError:
    """Return the line that says which extra `what` needs, or `error` if none would help."""
    extra = EXTRAS.get(str(error.name).partition(".")[0])
    if extra is None:
        return error
    return MissingExtraError(f"{what} needs twinport[{extra}]: {error.name} is not installed")


def lazily(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of `package`; `names` has those of each module, relative to it.

    It raises MissingExtraError where the module needs what is not installed.
    """
    places = {name: module for module, held in names.items() for name in held}

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = import_module(places[name], package)
        except ModuleNotFoundError as error:
            raise needing(f"{package}.{name}", error) from error
        return getattr(module, name)

    return find
