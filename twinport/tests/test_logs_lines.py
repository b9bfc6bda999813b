"""Whatever somebody else chooses stays on its line, visibly, in each form that a line has."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from loguru import logger

from twinport.calls import Call, current
from twinport.logs import Logs, LogsSettings, logging_to
from twinport.logs.chat import text_of
from twinport.settings import Identity

from support.log_collectors import Collector

OBEYED = [
    *(*range(32), *range(127, 160)),
    *(0x061C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),
]
FORGED = f"tea{''.join(map(chr, OBEYED))}\nFAKE LINE"
PROTOCOLS = ["beats", "tcp", "http"]
Capture = pytest.CaptureFixture[str]

hooked: list[Mapping[str, Any]] = []


def to_list() -> Callable[[Mapping[str, Any]], None]:
    hooked.clear()
    return hooked.append


def call(transport: Literal["http", "grpc"], **chosen: Any) -> Call:
    made = Call(transport, "a" * 32, "b" * 16)
    made.method, made.path, made.status, made.peer = "GET", "/", 404, "10.0.0.1:4711"
    for name, value in chosen.items():
        setattr(made, name, value)
    return made


def in_a_call(made: Call) -> None:
    token = current.set(made)
    logger.info("in a call")
    current.reset(token)


def raise_and_log(error: Exception) -> None:
    try:
        raise error
    except Exception:
        logger.exception("failed")


CHOSEN: dict[str, Callable[[Logs], object]] = {
    "path": lambda logs: logs.access(call("http", path=FORGED)),
    "a path too long to be remembered": lambda logs: logs.access(call("http", path=FORGED * 9)),
    "method": lambda logs: logs.access(call("http", method=FORGED)),
    "user agent": lambda logs: logs.access(call("http", user_agent=FORGED)),
    "peer": lambda logs: logs.access(call("http", peer=FORGED)),
    "principal": lambda logs: logs.access(call("http", principal=FORGED)),
    "request id": lambda logs: logs.access(call("http", request_id=FORGED)),
    "request id of a line": lambda _logs: in_a_call(call("http", request_id=FORGED)),
    "gRPC method": lambda logs: logs.access(call("grpc", method=FORGED)),
    "gRPC metadata": lambda logs: logs.access(call("grpc", user_agent=FORGED, request_id=FORGED)),
    "message": lambda _logs: logger.warning("no {}", FORGED),
    "field": lambda _logs: logger.bind(sku=FORGED).warning("no"),
    "name of a field": lambda _logs: logger.bind(**{FORGED: 1}).warning("no"),
    "field within a field": lambda _logs: logger.bind(order={FORGED: [FORGED]}).warning("no"),
    "logging": lambda _logs: logging.getLogger("lib").warning("no %s", FORGED),
    "name of a logger": lambda _logs: logging.getLogger(f"{FORGED}.{FORGED}").warning("no"),
    "text of an exception": lambda _logs: raise_and_log(ValueError(FORGED)),
    "what JSON cannot hold": lambda _logs: logger.bind(n=1 << 70).warning(f"{FORGED}\udc80"),
}


@contextmanager
def all_forms(folder: Path, *collectors: Collector) -> Iterator[Logs]:
    sinks: dict[str, Any] = {
        "console": {"format": "json"},
        "people": {"kind": "console", "format": "text", "stream": "stdout"},
        "file": {"kind": "file", "path": str(folder / "json.log")},
        "text_file": {"kind": "file", "path": str(folder / "text.log"), "format": "text"},
        "hook": {"kind": "hook", "callable": f"{__name__}:to_list"},
    }
    for protocol, collector in zip(PROTOCOLS, collectors, strict=True):
        here = {"host": "127.0.0.1", "port": collector.port, "protocol": protocol}
        sinks[protocol] = {"kind": "logstash", **here}
    url = f"http://127.0.0.1:{collectors[-1].port}/"
    sinks["http"] = {"kind": "http", "url": url}
    settings = LogsSettings.model_validate({"sinks": sinks, "capture_stderr": False})
    with logging_to(settings, Identity(name="tea")) as logs:
        yield logs


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setitem(sys.modules, __name__, request.module)


@pytest.fixture
def collectors() -> Iterator[list[Collector]]:
    made = [Collector(protocol) for protocol in PROTOCOLS]
    for collector in made:
        collector.start()
    yield made
    for collector in made:
        collector.stop()


def obeyed_in(text: str, allowed: str = "\n") -> list[str]:
    return [char for char in text if ord(char) in OBEYED and char not in allowed]


def test_what_somebody_chooses_stays_on_its_line_in_every_form(
    tmp_path: Path, capfd: Capture, collectors: list[Collector]
) -> None:
    with all_forms(tmp_path, *collectors) as logs:
        for say in CHOSEN.values():
            say(logs)
        assert all(collector.await_count(len(CHOSEN)) for collector in collectors)
        assert logs.flush(20)
    people, programs = capfd.readouterr()
    file, text_file = ((tmp_path / f"{kind}.log").read_text() for kind in ("json", "text"))
    for machine in (programs, file):
        assert obeyed_in(machine) == []
        assert len(machine.splitlines()) == len(CHOSEN)
    for text in (people, text_file):
        heads = [line for line in text.split("\n") if line.strip() and line[0] != " "]
        assert obeyed_in("".join(heads)) == []
        assert obeyed_in(text, "\n\t") == []  # both are in the block of a traceback
        assert len(heads) == len(CHOSEN)
        assert text.splitlines().count("    FAKE LINE") == 1
    lines = [json.loads(line) for line in file.splitlines()]
    assert lines == hooked == collectors[0].lines == collectors[1].lines == collectors[2].lines


def test_what_is_escaped_says_what_it_was(
    tmp_path: Path, capfd: Capture, collectors: list[Collector]
) -> None:
    with all_forms(tmp_path, *collectors) as logs:
        logs.access(call("http", path="/v1/orders/\r\nFAKE LINE\u2028\u202e\x85"))
    people, programs = capfd.readouterr()
    assert r"GET /v1/orders/\x0d\x0aFAKE LINE\u2028\u202e\x85 404" in people
    assert r"/v1/orders/\r\nFAKE LINE\u2028\u202e\u0085" in programs


def test_a_stack_stays_a_block_below_its_line(
    tmp_path: Path, capfd: Capture, collectors: list[Collector]
) -> None:
    with all_forms(tmp_path, *collectors):
        logging.getLogger("lib").warning("see\nbelow", stack_info=True)
    people, programs = capfd.readouterr()
    head, *block = people.splitlines()
    assert head.endswith(r"see\x0abelow")
    assert block[0] == "    Stack (most recent call last):"
    assert all(line.startswith("    ") for line in block)
    assert "test_a_stack_stays_a_block" in json.loads(programs)["error.stack_trace"]


def test_an_exception_and_a_stack_are_both_shown(
    tmp_path: Path, capfd: Capture, collectors: list[Collector]
) -> None:
    with all_forms(tmp_path, *collectors):
        try:
            raise ValueError("password=abc")
        except ValueError:
            logging.getLogger("lib").exception("failed", stack_info=True)
    trace = json.loads(capfd.readouterr().err)["error.stack_trace"]
    assert "ValueError: password=[redacted]\nStack (most recent call last):\n" in trace


def test_a_chat_cannot_be_told_another_trace() -> None:
    line = {"log.level": "error", "service.name": "tea", "service.environment": "test"}
    text = text_of({**line, "message": "no\ntrace 1", "error.type": "E", "error.message": "\n"}, 0)
    assert len(text.splitlines()) == 2  # the message, and the error
