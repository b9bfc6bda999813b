import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from loguru import logger
from pydantic import ValidationError

from twinport.calls import Call
from twinport.errors import StartupError
from twinport.logs import Logs, LogsSettings, chat, logging_to
from twinport.settings import Identity

PATIENCE_S = 60
IDENTITY = Identity(name="tea", environment="test")
TO_CHAT = f"{chat.__name__}:to_chat"

released = threading.Event()
received: list[Mapping[str, Any]] = []


def to_list(**_options: Any) -> Callable[[Mapping[str, Any]], None]:
    received.clear()
    return received.append


def to_nowhere() -> Callable[[Mapping[str, Any]], None]:
    def wait(_line: Mapping[str, Any]) -> None:
        released.wait()

    return wait


def to_loggers() -> Callable[[Mapping[str, Any]], None]:
    received.clear()

    def talk(line: Mapping[str, Any]) -> None:
        received.append(line)
        logging.getLogger("lib").warning("while sending")
        logger.warning("while sending")
        raise ValueError("broken")

    return talk


def hooked(hook: Callable[..., object] | str, **more: Any) -> AbstractContextManager[Logs]:
    name = hook if isinstance(hook, str) else f"{__name__}:{hook.__name__}"
    sinks = {"hook": {"kind": "hook", "callable": name, **more}}
    return logging_to(LogsSettings.model_validate({"sinks": sinks}), IDENTITY)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setitem(__import__("sys").modules, __name__, request.module)


@pytest.fixture
def web_hook() -> Iterator[tuple[str, list[str]]]:
    texts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/T0/B0/secret", texts
        server.shutdown()


def test_a_hook_gets_lines_of_loguru_of_the_standard_library_and_of_calls() -> None:
    call = Call("grpc", "a" * 32, "b" * 16)
    with hooked(to_list) as logs:
        logger.bind(sku="tea").info("one")
        logging.getLogger("lib").warning("two")
        logs.access(call)
    assert [line["log.logger"] for line in received] == [__name__, "lib", "access"]
    assert received[0]["labels"] == {"sku": "tea"}


def test_a_hook_gets_the_levels_and_the_loggers_that_it_asked_for() -> None:
    with hooked(to_list, level="WARNING", include=["lib"], exclude=["lib.noisy"]):
        for name in ("lib", "lib.part", "lib.noisy", "library"):
            logging.getLogger(name).info("too low")
            logging.getLogger(name).warning("high enough")
    assert [line["log.logger"] for line in received] == ["lib", "lib.part"]


def test_a_hook_that_hangs_holds_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    released.clear()
    with hooked(to_nowhere, queue_size="4KiB") as logs:
        began = time.monotonic()
        for number in range(100):
            logger.info("line {}", number)
        assert time.monotonic() - began < PATIENCE_S / 2  # were it held, it would be for ever
        assert logs.dropped()["hook"] > 80
        assert not logs.flush(0.05)
        released.set()
        assert logs.flush(PATIENCE_S)
    assert capfd.readouterr().err.count('"message":"line ') == 100


def test_a_hook_that_fails_and_logs_costs_its_own_lines_only(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with hooked(to_loggers) as logs:
        logger.info("one")
        logger.info("two")
        assert logs.flush(PATIENCE_S)
        assert logs.dropped()["hook"] == 2
    messages = [json.loads(line)["message"] for line in capfd.readouterr().err.splitlines()]
    assert messages.count("while sending") == 4
    assert any("ValueError: broken" in message for message in messages)
    assert {line["message"] for line in received} <= {"one", "two", *messages[-1:]}


def test_errors_go_to_a_chat_and_not_too_many_of_them(web_hook: tuple[str, list[str]]) -> None:
    url, texts = web_hook
    with hooked(TO_CHAT, level="ERROR", options={"url": url, "per_minute": 2}) as logs:
        logger.info("fine")
        for number in range(5):
            logger.error("failed {}", number)
        assert logs.flush(PATIENCE_S)
    assert texts == ["*ERROR* tea (test): failed 0", "*ERROR* tea (test): failed 1"]


def test_the_next_message_says_how_many_were_left_out(web_hook: tuple[str, list[str]]) -> None:
    url, texts = web_hook
    clock = iter([0.0, 0.0, 1.0, 2.0, 61.0])
    hook = chat.Chat(url, 1, lambda: next(clock))
    line = {"log.level": "error", "service.name": "tea", "service.environment": "test"}
    for message in ("sent", "left out", "left out", "sent later"):
        hook({**line, "message": message})
    assert len(texts) == 2
    assert "2 more" in texts[1]


BAD_HOOKS = [
    ("no colon", 'must be written "package.module:name"'),
    ("no.such.module:name", "ModuleNotFoundError: No module named 'no'"),
    ("json:no_such_name", "no_such_name"),
    ("json:__name__", "cannot be called"),
]


@pytest.mark.parametrize(("name", "mistake"), BAD_HOOKS)
def test_a_callable_that_is_none_is_a_mistake_in_the_settings(name: str, mistake: str) -> None:
    with pytest.raises(ValidationError, match=mistake) as mistakes:
        hooked(name).__enter__()
    (found,) = mistakes.value.errors()
    assert found["loc"] == ("sinks", "hook", "hook", "callable")


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        ({"url": "ftp-secret"}, r"^logs\.sinks\.hook\.options\.url: "),
        ({"url": "http://x/secret", "colour": "secret"}, r"^logs\.sinks\.hook\.options\.colour: "),
        ({}, r"^logs\.sinks\.hook\.options\.url: Missing"),
    ],
)
def test_wrong_options_stop_the_start_and_are_not_shown(
    options: dict[str, Any], mistake: str
) -> None:
    with pytest.raises(StartupError, match=mistake) as refused:
        hooked(TO_CHAT, options=options).__enter__()
    assert "secret" not in str(refused.value)
