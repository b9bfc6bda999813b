"""The redactor alone: what it masks, what it leaves, and what it costs."""

import re
import time
import timeit
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from twinport.redact import MASK, NAMES, Redactor

from support.secret_shapes import FIELDS, HEAD, QUOTED, TAIL, TEXTS, leaks

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
SEEN = [  # what was seen to come through
    ("{'cookie': 'session=S'}", "{'cookie': [redacted]}"),
    ('{"authorization": "Token S"}', '{"authorization": [redacted]}'),
    ("{'set-cookie': 'S=1'}", "{'set-cookie': [redacted]}"),
    ("{b'password': b'S'}", "{b'password': [redacted]}"),
    ("{'password': ['S']}", "{'password': [redacted]}"),
    ("[(b'cookie', b'session=S')]", "[(b'cookie', [redacted])]"),
    ("authorization=Bearer S", "authorization=[redacted]"),
    ('{\\"password\\": \\"S\\"}', '{\\"password\\": [redacted]}'),
    ("BEARER SECbearer0011", "BEARER [redacted]"),
    ("basic SECbasic0011", "basic [redacted]"),
    ("https://TOKEN@host", "https://[redacted]@host"),
    ("password%3Dx%26a%3D1", "password%3D[redacted]%26a%3D1"),
    ("pwd=S pw=S pass=S", "pwd=[redacted] pw=[redacted] pass=[redacted]"),
    ("sig=S pin=S passphrase=S", "sig=[redacted] pin=[redacted] passphrase=[redacted]"),
    ("http://h/p?sig=S&a=1", "http://h/p?sig=[redacted]&a=1"),
]
MASKED = [
    ("password=hunter2, sku=tea", "password=[redacted], sku=tea"),
    ('{"apiKey": "a \\"quoted\\" key", "n": 1}', '{"apiKey": [redacted], "n": 1}'),
    ("X-Api-Key: 123abc", "X-Api-Key: [redacted]"),
    ("Authorization: Digest username=ann, response=55", "Authorization: [redacted]"),
    ("Cookie: session=abc; theme=dark\nHost: x", "Cookie: [redacted]\nHost: x"),
    ("sent Bearer abc.def-123 to b", "sent Bearer [redacted] to b"),
    ("sent Basic YWxhZGRpbjpvcGVu to b", "sent Basic [redacted] to b"),
    (f"got {JWT}!", "got [redacted]!"),
    ("postgres://shop:hunter2@db:5432/shop", "postgres://[redacted]@db:5432/shop"),
    ("/cb?access_token=abc&x=1", "/cb?access_token=[redacted]&x=1"),
    ("paid with 4111 1111 1111 1111.", "paid with [redacted]."),
    ("paid with 4111-1111-1111-1111", "paid with [redacted]"),
    ("paid with 378282246310005 12", "paid with [redacted] 12"),
    ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----", "[redacted]"),
    ('{"password": "cut off in the mid', '{"password": [redacted]'),
    ('{"m": "{\\"password\\": \\"cut", "n": 1}', '{"m": "{\\"password\\": [redacted]", "n": 1}'),
    ("token={'a': 'b}', 'c': [1]} n=1", "token=[redacted] n=1"),
    ("{'db': {'userPin': 1234, 'n': 5}}", "{'db': {'userPin': [redacted], 'n': 5}}"),
    ('a path\\token = "abc def"', "a path\\token = [redacted]"),
    ("DBPass=a X-Amz-Signature=b", "DBPass=[redacted] X-Amz-Signature=[redacted]"),
]
HARMLESS = [
    "order 550e8400-e29b-41d4-a716-446655440000 took 12.5 ms",
    "card 4111 1111 1111 1112 fails the check of Luhn",
    "at 1764000000000000000 ns",
    "the token has expired",
    "trace 4111111111111111aaaaaaaaaaaaaaaa",
    "passenger=ann, shipping: sea, design='round', opinion: good, bypass=yes, compass: n",
    "pass_rate=0.9, pin_count: 3, author=bob, signal=9, side=left, spin=1, insider: x",
    "key=value, primary_key: 5, sort_key='name'",
    "basic operations per second: 5",
    "token=None, password: null, cookie_free is a word, secret=true",
    "mail ann@example.org, see https://example.org/@ann and http://localhost:80/a@b",
    "known are 'token', 'user', 'pin'",
    "Host: example.org:8080, at 12:30:05",
]


@pytest.mark.parametrize(("text", "expected"), SEEN + MASKED)
def test_what_looks_like_a_secret_is_masked(text, expected):
    assert Redactor().text(text) == expected


@pytest.mark.parametrize("text", HARMLESS)
def test_the_rest_stays_as_it_is(text):
    assert Redactor().text(text) == text


@settings(max_examples=500)
@given(TEXTS, st.sampled_from(["", "before ", "the tokens: (", "[{", "\\", "a='", "100% "]))
def test_no_shape_of_a_text_shows_a_secret(text, before):
    redactor = Redactor()
    masked = redactor.text(before + text)
    assert leaks(masked) == []
    assert redactor.text(masked) == masked
    for secret in redactor.secrets(text):
        text = text.replace(secret, "")
    assert leaks(text) == []


KEPT = sorted({*QUOTED} - {"an object in it"})  # of a header that is the rest of a line


@given(st.sampled_from(KEPT), st.sampled_from(NAMES), st.text("ab ([{}])%=:,;"))
def test_what_stands_beside_the_quoted_is_kept(shape, name, secret):
    text = f"x {QUOTED[shape](name, HEAD + secret + TAIL)} is all"
    masked = Redactor().text(text)
    assert masked.startswith("x ")
    assert masked.endswith(" is all")


@given(FIELDS)
def test_no_field_shows_a_secret(fields):
    assert leaks(Redactor().fields(fields)) == []


@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.binary()))
def test_any_text_and_any_fields_can_be_looked_at(text, fields):
    redactor = Redactor(patterns=["[0-9]{3}"])
    assert isinstance(redactor.text(text), str)
    shown = redactor.fields(fields)
    assert shown.keys() == {redactor.text(key) for key in fields}


def test_fields_are_masked_by_their_key_at_any_depth():
    fields = {
        "user": {"name": "ann", "Pass-Word": "hunter2", "cards": [4111111111111111, 5]},
        "db_password": "hunter2",
        "headers": [("authorization", "Token S"), ("password", "S"), ("host", "x")],
        "n": 5,
    }
    assert Redactor(["pass_word", "db_password", "authorization"]).fields(fields) == {
        "user": {"name": "ann", "Pass-Word": MASK, "cards": [MASK, 5]},
        "db_password": MASK,
        "headers": [["authorization", MASK], ["password", MASK], ["host", "x"]],
        "n": 5,
    }


def test_names_of_ones_own_take_the_place_of_the_usual_ones():
    redactor = Redactor(["iban", "customer-id"])
    text = "iban=a, ibanOfBuyer=b, CustomerId: c, customer_ids=d, token=e"
    assert redactor.text(text) == (
        "iban=[redacted], ibanOfBuyer=[redacted], CustomerId: [redacted],"
        " customer_ids=[redacted], token=e"
    )


def test_without_names_patterns_and_tokens_are_masked():
    redactor = Redactor([], ["xx+", "q*"])
    assert redactor.text(f"password=1 xx {JWT}") == "password=1 [redacted] [redacted]"


PARTS = (
    *("token", "token=", "'token', ", "cookie: ", "Basic ", "bearer ", "eyJ", "eyJ-", "://", "a@"),
    *("-----BEGIN ", "PRIVATE KEY-----", "%25", "%22", "%3A%2F%2F", "4111 ", "--pin ", "://a:b/"),
)
SIGNS = st.text("\"'\\ \n\t=:,;%&?/@-_.()[]{}<>aAn2045", min_size=1, max_size=5)
NASTY = st.sampled_from(PARTS) | SIGNS


@settings(max_examples=50)
@given(NASTY, NASTY, NASTY)
def test_the_cost_grows_with_the_length_alone(before, repeated, after):
    redactor = Redactor()
    texts = [before + repeated * (size // len(repeated)) + after for size in (25_000, 100_000)]
    short_s, long_s = (seconds(lambda text=text: redactor.text(text)) for text in texts)
    assert long_s < 10 * short_s + 0.01  # four times the length; sixteen times, were it quadratic


def seconds(work: Callable[[], Any], repeat: int = 2, number: int = 1) -> float:
    return min(timeit.repeat(work, repeat=repeat, number=number, timer=time.thread_time))


MOST_OF_A_LOOK = 2.0
PLAIN_LINES = [
    "sold 2 pieces",
    "GET /v1/orders 200",
    "order 550e8400-e29b-41d4-a716-446655440000 took 12.5 ms, status: done",
    "GET https://inventory.internal:8080/v1/orders?page=2 answered 200",
    "the quick brown fox jumps over the lazy dog; " * 4,
]


def test_a_line_without_secrets_costs_little_more_than_to_look_at_it():
    """The yardstick is a search for a dozen names, as plain as can be, and one for digits."""
    redactor, dozen = Redactor(), re.compile("|".join(NAMES[:12]))

    def look(line: str) -> bool:
        found = dozen.search(line.lower())
        return bool(found) or b"0" * 13 in line.encode("utf-8", "replace").translate(None, b" -")

    def ratio() -> float:
        ours_s = seconds(lambda: [redactor.text(line) for line in PLAIN_LINES], 1, 50)
        return ours_s / seconds(lambda: [look(line) for line in PLAIN_LINES], 1, 50)

    assert sorted(ratio() for _ in range(41))[20] < MOST_OF_A_LOOK
