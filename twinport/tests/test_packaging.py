"""What the distribution says of itself: dependencies, extras, licence, version."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

import twinport
from twinport.compatibility import NAMES
from twinport.extras import EXTRAS, SERVER, TESTING

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/twinport"
PROJECT: Mapping[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

# Which extra a room or a module belongs to; the longest name counts, what is not named is the base.
ROOMS = {
    "auth/auth": SERVER,
    "auth/certificates": SERVER,
    "auth/keys": "jwt",
    "auth/rest_guard": SERVER,
    "auth/rpc_guard": SERVER,
    "auth/tokens": "jwt",
    "clients/call_command": SERVER,
    "faults": SERVER,
    "management": SERVER,
    "metrics": SERVER,
    "rest": SERVER,
    "rest/servers/granian": "granian",
    "rest/servers/uvicorn": "uvicorn",
    "rest/settings": "",
    "rpc": SERVER,
    "service": SERVER,
    "service/settings": "",
    "testing": TESTING,
    "tls/authority": SERVER,
    "tls/check": SERVER,
    "traces/fastapi": SERVER,
}
MODULES = sorted(SOURCE.rglob("*.py"))


def extra_of(path: Path) -> str:
    name = path.relative_to(SOURCE).with_suffix("").as_posix()
    names = [room for room in ROOMS if name == room or name.startswith(f"{room}/")]
    return ROOMS[max(names, key=len)] if names else ""


def imported(path: Path) -> Iterator[str]:
    """Yield what a module imports of others, also what `part` imports for it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(level=0, module=str(module), names=names):
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Call(func=ast.Name(id="part" | "import_module"), args=[ast.Constant(value=v)]):
                yield str(v)


def declared(extra: str) -> dict[str, Requirement]:
    """Return what is installed with an extra; none is the base, and the others need the server."""
    listed = list(PROJECT["dependencies"])
    for each in {SERVER, extra} if extra else set():
        listed += PROJECT["optional-dependencies"][each]
    return {(found := Requirement(each)).name: found for each in listed}


@cache
def packages_of(distribution: str) -> frozenset[str]:
    """Return the modules and packages of a distribution, with all their parts."""
    files = metadata.files(distribution) or ()
    names = [file.with_suffix("").as_posix() for file in files if file.suffix in {".py", ".so"}]
    return frozenset(name.removesuffix("/__init__").partition(".")[0] for name in names)


def belongs(module: str, distribution: str) -> bool:
    parts = module.split(".")
    names = {"/".join(parts[: end + 1]) for end in range(len(parts))}
    return bool(names & packages_of(distribution))


def undeclared(path: Path) -> set[str]:
    ours = {*sys.stdlib_module_names, "twinport", ""}  # a name that begins with a dot is relative
    foreign = {name for name in imported(path) if name.partition(".")[0] not in ours}
    found = declared(extra_of(path))
    return {name for name in foreign if not any(belongs(name, each) for each in found)}


def test_each_module_imports_what_is_declared_for_its_room() -> None:
    wrong = {path: names for path in MODULES if (names := undeclared(path))}
    assert wrong == {}


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(each) for each in chain(PROJECT["dependencies"], *extras)]


def test_each_dependency_has_a_floor_and_a_ceiling() -> None:
    """The ceiling is for versions 0.x, and for what is used without a promise."""
    found = requirements()
    bounded = {each.name for each in found if re.search(r"<\d|~=", str(each.specifier))}
    unfinished = {each.name for each in found if metadata.version(each.name).startswith("0.")}
    assert [each for each in found if not re.search(r">=|~=", str(each.specifier))] == []
    assert (unfinished | {*NAMES}) - bounded == set()


def test_what_is_declared_is_what_the_tests_run_with() -> None:
    installed = {each: metadata.version(each.name) for each in requirements()}
    assert [each for each in installed if not each.specifier.contains(installed[each])] == []


def test_the_table_of_extras_is_that_of_the_distribution() -> None:
    wrong = [(name, extra) for name, extra in EXTRAS.items() if not is_brought(name, extra)]
    assert wrong == []


def is_brought(package: str, extra: str) -> bool:
    listed = PROJECT["optional-dependencies"][extra]
    return any(belongs(package, Requirement(each).name) for each in listed)


def test_the_tests_are_about_the_sources_beside_them() -> None:
    assert twinport.__file__ == str(SOURCE / "__init__.py")
    ours = [module for name, module in sys.modules.items() if name.split(".")[0] == "twinport"]
    files = {str(getattr(module, "__file__", "")) for module in ours}
    assert {file for file in files if not file.startswith(f"{SOURCE}/")} == set()


def test_the_licence_is_that_of_the_template() -> None:
    assert (ROOT / "LICENSE").read_bytes() == (ROOT.parent / "LICENSE").read_bytes()


def test_the_installed_version_is_the_newest_of_the_changelog() -> None:
    newest = re.findall(r"^## (\d\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert metadata.version("twinport") == PROJECT["version"] == newest[0]
