"""Importing a module does nothing, whichever it is."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import twinport

SOURCE = Path(twinport.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
DEFINES = (
    ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign
)
GUARDS = {"TYPE_CHECKING", "__name__ == '__main__'"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
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
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=os.environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == []
