"""Who may import whom, and that importing does nothing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import {{ cookiecutter.__package }} as package

NAME = package.__name__
SOURCE = Path(package.__file__).parent
MODULES = sorted(path for path in SOURCE.rglob("*.py") if "_pb2" not in path.stem)
PARTS = [path for path in MODULES if path.parent.parent == SOURCE]  # of a feature, each its folder

WEB = {"fastapi", "starlette", "hypercorn", "uvicorn", "granian", "httpx2", "h2", "twinport.rest"}
RPC = {"grpc", "grpc_status", "google"}
WHOLE = {"twinport.Service", "twinport.Settings", "twinport.main"}  # the service, not a feature
SHARED = "database"  # what the features stand on, where the service has one
LAYERS = {  # what it may import of its own feature; what it may not import at all
    "model.py": (set(), WEB | RPC | WHOLE),
    "domain.py": ({"model"}, WEB | RPC | WHOLE),
    "memory.py": ({"domain", "model", "watches"}, WEB | RPC | WHOLE),
    "store.py": ({"domain", "model", "watches"}, WEB | RPC | WHOLE),
    "watches.py": ({"model"}, WEB | RPC | WHOLE),
    "rest.py": ({"domain", "model"}, RPC | WHOLE),
    "rpc.py": ({"domain", "model", "v1"}, WEB | WHOLE),
    "settings.py": ({"model"}, WEB | RPC | WHOLE),
}
PUBLIC = {"twinport", "twinport.clients", "twinport.rest", "twinport.settings"}


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the module and the full name of whatever is imported anywhere in `path`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = origin(path, node)
            yield from ((module, f"{module}.{alias.name}") for alias in node.names)


def origin(path: Path, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    folder = path.parents[node.level - 1].relative_to(SOURCE.parent)
    return ".".join([*folder.parts, *filter(None, [node.module])])


def within(name: str, parts: set[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


@pytest.mark.parametrize("path", PARTS, ids=name_of)
def test_a_feature_knows_no_other_feature_and_none_of_what_wires_them(path: Path):
    own = {f"{NAME}.{path.parent.name}", f"{NAME}.{SHARED}"}
    ours = {name for _, name in imported(path) if within(name, {NAME})}
    assert {name for name in ours if not within(name, own)} == set()


@pytest.mark.parametrize("path", [path for path in PARTS if path.name in LAYERS], ids=name_of)
def test_a_layer_does_not_reach_across(path: Path):
    parts, foreign = LAYERS[path.name]
    own = {f"{NAME}.{path.parent.name}.{part}" for part in parts} | {f"{NAME}.{SHARED}"}
    names = {name for _, name in imported(path)}
    assert {name for name in names if within(name, foreign)} == set()
    assert {name for name in names if within(name, {NAME}) and not within(name, own)} == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_of_the_library_only_what_is_public_is_used(path: Path):
    modules = {module for module, _ in imported(path) if within(module, {"twinport"})}
    assert modules <= PUBLIC


DEFINES = (
    ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign
)
GUARDS = {"TYPE_CHECKING", "__name__ == '__main__'", "__name__ == 'env_py'", "is_program()"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_only_defines(path: Path):
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assert [ast.unparse(statement) for statement in body if not defines(statement)] == []


def defines(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant()):  # a docstring
            return True
        case ast.If(test=test):
            return ast.unparse(test) in GUARDS
    return isinstance(statement, DEFINES | ast.AnnAssign)
