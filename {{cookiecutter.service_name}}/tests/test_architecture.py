"""Who may import whom, and that importing does nothing."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import {{ cookiecutter.__package }} as package

NAME = package.__name__
SOURCE = Path(package.__file__).parent
MODULES = sorted(path for path in SOURCE.rglob("*.py") if "_pb2" not in path.stem)
FEATURES = {path.parent.name for path in SOURCE.glob("*/domain.py")}
WEB = {"fastapi", "starlette", "hypercorn", "uvicorn", "granian", "httpx", "h2"}
RPC = {"grpc", "grpc_status", "google"}
MIDDLE = {f"{NAME}.runtime.{part}" for part in ("errors", "validation", "traces", "auth")}


def feature_rules(feature: str) -> Iterator[tuple[str, set[str], set[str]]]:
    own, runtime = f"{NAME}.{feature}", f"{NAME}.runtime"
    yield f"{feature}/**/*.py", {own, runtime}, set()  # features do not know each other, nor app
    middle = {f"{own}.domain", f"{own}.model"}
    yield f"{feature}/[dm]o*.py", MIDDLE | {f"{own}.model"}, WEB | RPC  # domain and model
    yield f"{feature}/store.py", MIDDLE | middle, WEB | RPC
    yield f"{feature}/rest.py", middle | {runtime}, RPC
    yield f"{feature}/rpc.py", middle | {f"{own}.v1", runtime}, WEB


RULES = [  # files; what they may import of this service; libraries that they may not
    ("runtime/**/*.py", {f"{NAME}.runtime"}, set()),  # it could be a package of its own
    (
        "settings.py",
        {f"{NAME}.runtime", *(f"{NAME}.{each}.settings" for each in FEATURES)},
        WEB | RPC,
    ),
    *(rule for feature in sorted(FEATURES) for rule in feature_rules(feature)),
]


def imported(path: Path) -> Iterator[str]:
    """Yield the full name of whatever the module at `path` imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{origin(path, node)}.{alias.name}" for alias in node.names)


def origin(path: Path, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    folder = path.parents[node.level - 1].relative_to(SOURCE.parent)
    return ".".join([*folder.parts, *filter(None, [node.module])])


def within(name: str, parts: set[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


@pytest.mark.parametrize(("files", "own", "foreign"), RULES, ids=[rule[0] for rule in RULES])
def test_a_layer_does_not_reach_across(files, own, foreign):
    paths = [path for path in SOURCE.glob(files) if path in MODULES]
    names = {(path.name, name) for path in paths for name in imported(path)}
    ours = {(file, name) for file, name in names if within(name, {NAME})}
    assert paths
    assert {(file, name) for file, name in ours if not within(name, own)} == set()
    assert {(file, name) for file, name in names - ours if within(name, foreign)} == set()


def listens(path: Path) -> bool:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    return "socket" in imported(path) and any(call.endswith(".listen") for call in calls)


def test_one_place_opens_every_socket_that_listens():
    """It sets the options that each of them needs."""
    assert [path for path in MODULES if listens(path)] == [SOURCE / "runtime/lifecycle/server.py"]


DEFINES = (
    ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign
)
GUARDS = {"TYPE_CHECKING", "__name__ == '__main__'", "is_program()"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_only_defines(path):
    body = ast.parse(path.read_text(encoding="utf-8")).body
    assert [ast.unparse(statement) for statement in body if not defines(statement)] == []


def defines(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant()):  # a docstring
            return True
        case ast.If(test=test):
            return ast.unparse(test) in GUARDS
    return isinstance(statement, DEFINES | ast.AnnAssign)


PROBE = """
import importlib, json, logging, os, signal, sys, threading

ACTS = {"socket.bind", "socket.connect", "subprocess.Popen", "os.putenv", "os.mkdir"}
source, *names = sys.argv[1:]
seen = []

def heard(event, args):
    acts = event in ACTS or (event == "open" and set(str(args[1])) & set("wax+"))
    if acts and is_ours(sys._getframe(1)):
        seen.append([event, str(args[0])])

def is_ours(frame):  # not what a library does, itself or through the standard library
    while frame and "site-packages" not in frame.f_code.co_filename:
        if frame.f_code.co_filename.startswith(source):
            return True
        frame = frame.f_back
    return False

def state():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return [threading.active_count(), len(logging.getLogger().handlers), list(map(str, handlers))]

before = state()
sys.addaudithook(heard)
for name in names:
    importlib.import_module(name)
if state() != before:
    seen.append([before, state()])
print(json.dumps(seen))
"""


def test_importing_everything_leaves_no_trace():
    parts = [path.relative_to(SOURCE.parent).with_suffix("").parts for path in MODULES]
    names = [".".join(part for part in module if part != "__init__") for module in parts]
    program = [sys.executable, "-B", "-c", PROBE, str(SOURCE), *names]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == []
