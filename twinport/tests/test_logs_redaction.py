import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from loguru import logger
from pydantic import ValidationError

from twinport.calls import Call, current
from twinport.logs import LogsSettings, logging_to
from twinport.settings import Identity

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
CARD = "4111 1111 1111 1111"


def test_no_secret_reaches_a_sink(capfd: pytest.CaptureFixture[str]) -> None:
    redact = {"patterns": ["hunter[0-9]"]}
    settings = {"redact": redact, "sinks": {"more": {"kind": "console", "format": "text"}}}
    with logging_to(LogsSettings.model_validate(settings), Identity(name="tea")) as logs:
        logger.bind(password="hunter2", card=CARD).info("said hunter2")
        logging.getLogger("lib").info("Authorization: %s", "Bearer hunter2")
        call = call_to(f"/v1/pay/{CARD.replace(' ', '')}/{JWT}/hunter2")
        call.user_agent, call.request_id = f"tea hunter2 {JWT}", f"hunter2-{JWT}"
        logs.access(call)
        with in_call(call):
            logger.info("called")
        secret_local = "hunter2"
        try:
            raise ValueError(f"Bearer {JWT}, {secret_local}")
        except ValueError:
            logger.exception("failed")
    written = capfd.readouterr().err
    assert len(written.splitlines()) > 8
    for secret in ("hunter2", CARD, CARD.replace(" ", ""), JWT):
        assert secret not in written


@contextmanager
def in_call(call: Call) -> Iterator[None]:
    token = current.set(call)
    yield
    current.reset(token)


def test_a_text_that_json_cannot_hold_is_logged_all_the_same(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with logging_to(LogsSettings(), Identity(name="tea")):
        logger.bind(large=1 << 80, odd={1: {2}}, broken=Broken()).info("\udc80 alone")
    line = json.loads(capfd.readouterr().err)
    assert line["message"] == "\\udc80 alone"
    assert line["labels"]["large"] == str(1 << 80)
    assert "__str__" in line["labels"]["broken"]


def test_a_pattern_that_is_none_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(ValidationError, match=r"redact\.patterns\n.*missing \)"):
        LogsSettings.model_validate({"redact": {"patterns": ["(a"]}})


class Broken:
    def __str__(self) -> str:
        raise ValueError("no text")


def call_to(path: str) -> Call:
    call = Call("http", "a" * 32, "b" * 16)
    call.method, call.path, call.status = "GET", path, 200
    return call
