import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, strategies as st
from loguru import logger
from pydantic import ValidationError

from twinport.calls.call import Call, current
from twinport.logs import LogsSettings, logging_to
from twinport.logs.redact import Redactor
from twinport.logs.settings import RedactSettings
from twinport.settings import Identity

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
CARD = "4111 1111 1111 1111"
SECRETS = [
    ("password=hunter2, sku=tea", "password=[redacted], sku=tea"),
    ('{"apiKey": "a \\"quoted\\" key", "n": 1}', '{"apiKey": [redacted], "n": 1}'),
    ("X-Api-Key: 123abc", "X-Api-Key: [redacted]"),
    ("Authorization: Digest username=ann, response=55", "Authorization: [redacted]"),
    ("Cookie: session=abc; theme=dark\nHost: x", "Cookie: [redacted]\nHost: x"),
    ("sent Bearer abc.def-123 to b", "sent Bearer [redacted] to b"),
    ("sent Basic YWxhZGRpbjpvcGVu to b", "sent Basic [redacted] to b"),
    (f"got {JWT}!", "got [redacted]!"),
    ("postgres://shop:hunter2@db:5432/shop", "postgres://shop:[redacted]@db:5432/shop"),
    ("/cb?access_token=abc&x=1", "/cb?access_token=[redacted]&x=1"),
    (f"paid with {CARD}.", "paid with [redacted]."),
    ("paid with 4111-1111-1111-1111", "paid with [redacted]"),
    ("paid with 378282246310005 12", "paid with [redacted] 12"),
    ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----", "[redacted]"),
]
HARMLESS = [
    "order 550e8400-e29b-41d4-a716-446655440000 took 12.5 ms",
    "card 4111 1111 1111 1112 fails the check of Luhn",
    "at 1764000000000000000 ns",
    "the token has expired",
    "trace 4111111111111111aaaaaaaaaaaaaaaa",
]


@pytest.mark.parametrize(("text", "expected"), SECRETS)
def test_what_looks_like_a_secret_is_masked(text: str, expected: str) -> None:
    assert Redactor(RedactSettings()).text(text) == expected


@pytest.mark.parametrize("text", HARMLESS)
def test_the_rest_stays_as_it_is(text: str) -> None:
    assert Redactor(RedactSettings()).text(text) == text


@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.binary()))
def test_any_text_and_any_fields_can_be_looked_at(text: str, fields: dict[str, Any]) -> None:
    redactor = Redactor(RedactSettings(patterns=("[0-9]{3}",)))
    assert isinstance(redactor.text(text), str)
    assert redactor.fields(fields).keys() == fields.keys()


def test_fields_are_masked_by_their_key_at_any_depth() -> None:
    fields = {
        "user": {"name": "ann", "Pass-Word": "hunter2", "cards": [4111111111111111, 5]},
        "db_password": "hunter2",
        "n": 5,
    }
    assert Redactor(RedactSettings(keys=("pass_word", "db_password"))).fields(fields) == {
        "user": {"name": "ann", "Pass-Word": "[redacted]", "cards": ["[redacted]", 5]},
        "db_password": "[redacted]",
        "n": 5,
    }


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
