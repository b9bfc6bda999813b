"""Who may import whom within the library, and that importing does nothing."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import twinport

SOURCE = Path(twinport.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))

# From the ground up; a room imports only of what stands before its own row.
LAYERS = [
    {"errors", "startup"},
    {"compatibility", "extras", "redact"},
    {"settings"},
    {"calls", "cli", "health", "lifecycle", "profiling", "tls"},
    {"validation"},
    {"faults", "logs"},
    {"traces"},
    {"clients"},
    {"metrics"},
    {"rest", "rpc"},  # which do not know each other
    {"auth", "management"},
    {"service"},
    {"testing"},
    {"__init__"},
]
HEIGHT = {room: height for height, rooms in enumerate(LAYERS) for room in rooms}


def imported(path: Path) -> Iterator[str]:
    """Yield the room of each module of the library that the one at `path` imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            assert node.module.partition(".")[0] != "twinport", path
        elif isinstance(node, ast.ImportFrom):
            folder = path.parents[node.level - 1].relative_to(SOURCE).parts
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ((*folder, *name.split("."))[0] for name in names)


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def test_imports_point_downwards_only():
    found = {(path, room) for path in MODULES for room in imported(path) if room != room_of(path)}
    upwards = [each for each in found if HEIGHT[each[1]] >= HEIGHT[room_of(each[0])]]
    assert upwards == []


def takes_a_port(path: Path) -> bool:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    calls = (node for node in nodes if isinstance(node, ast.Call) and node.args)
    return any(
        ast.unparse(call.func).endswith(".bind") and isinstance(call.args[0], ast.Tuple)
        for call in calls
    )


def test_one_place_takes_every_port():
    """It sets the options that each socket needs."""
    assert [path for path in MODULES if takes_a_port(path)] == [SOURCE / "lifecycle/servers.py"]


MIDDLE = """
import sys
from twinport import NotFoundError, PUBLIC, Section, bearer, checked, needs, principal, span, traced
print(*{name.partition(".")[0] for name in sys.modules})
"""
TRANSPORTS = {"fastapi", "starlette", "hypercorn", "uvicorn", "granian", "httpx2", "h2", "grpc"}


def test_what_the_middle_of_a_service_uses_knows_no_transport():
    program = [sys.executable, "-c", MIDDLE]
    done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60)
    assert TRANSPORTS & set(done.stdout.split()) == set()


DEFINES = (
    ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign
)
GUARDS = {"TYPE_CHECKING", "__name__ == '__main__'", "is_program()"}


def test_a_module_only_defines():
    bodies = {path: ast.parse(path.read_text(encoding="utf-8")).body for path in MODULES}
    acts = [
        (path, ast.unparse(statement))
        for path, body in bodies.items()
        for statement in body
        if not defines(statement)
    ]
    assert acts == []


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
