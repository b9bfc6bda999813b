"""The names that a minor version keeps: imports, settings, metrics, log fields.

Where one of them is to change, README.md says what that takes; `PROMISE=anew` then has the file
`promised.txt` written.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from loguru import logger

import twinport
from twinport import rest
from twinport.auth import Principal
from twinport.calls import Call
from twinport.clients.outgoing_call import ClientCall, log
from twinport.logs import LogsSettings, logging_to
from twinport.settings import Identity

from support.promised import FILE, SOURCE, promised

LAZY = [path for path in SOURCE.rglob("__init__.py") if "= lazily(" in path.read_text("utf-8")]


@pytest.fixture
def log_fields(capfd: pytest.CaptureFixture[str]) -> set[str]:
    """The fields of all kinds of lines; labels are the caller's own."""
    chosen = {"level": "DEBUG", "sinks": {"console": {"format": "json", "stream": "stdout"}}}
    with logging_to(LogsSettings.model_validate(chosen), Identity(name="tea")) as logs:
        for transport in ("http", "grpc"):
            call = Call(transport, "a" * 32, "b" * 16)
            call.request_id, call.peer, call.principal = "r", "10.0.0.7:5000", Principal("ann")
            call.reason = "not allowed"
            logs.access(call)
            log(ClientCall("next", transport, "GET", 1.0))
        try:
            raise ValueError("no tea")
        except ValueError:
            logger.bind(sku="tea").exception("sold out")
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len(lines) == 5
    return {field for line in lines for field in line}


def test_what_was_promised_is_there_and_unchanged(log_fields: set[str]) -> None:
    found = promised(log_fields)
    if os.environ.get("PROMISE") == "anew":
        FILE.write_text(found, encoding="utf-8")
    assert found == FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", LAZY, ids=lambda path: path.parent.name)
def test_what_types_see_is_what_loads(path: Path) -> None:
    seen, loaded = {}, {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If):
            seen = {f"{'.' * each.level}{each.module}": names(each) for each in node.body}
        elif isinstance(node, ast.Dict):
            loaded = {key: list(held) for key, held in ast.literal_eval(node).items()}
    assert seen == loaded


def names(node: ast.stmt) -> list[str]:
    assert isinstance(node, ast.ImportFrom)
    assert [each.name for each in node.names] == [each.asname for each in node.names]
    return [each.name for each in node.names]


@pytest.mark.parametrize("module", [twinport, rest])
def test_every_public_name_can_be_found_and_loaded(module: object) -> None:
    listed = [name for name in dir(module) if not name.startswith("_")]
    assert {"NotFoundError", "events"} & set(listed)
    assert [name for name in listed if not hasattr(module, name)] == []


LISTED = """
import sys, twinport
assert {"main", "Service"} < {*dir(twinport)}
print(*[name for name in sys.modules if name.startswith("twinport.")])
"""


def test_the_names_are_listed_before_any_of_them_is_loaded() -> None:
    program = [sys.executable, "-c", LISTED]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"twinport.errors", "twinport.extras"}


def test_a_name_that_is_not_there_is_told_as_python_tells_it() -> None:
    with pytest.raises(ImportError, match="cannot import name 'nothing' from 'twinport'"):
        exec("from twinport import nothing")
