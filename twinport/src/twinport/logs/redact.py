"""Secrets that nobody meant to log: masked by the name of their key, or by how they look."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .ecs import written
from .settings import RedactSettings

MASK = "[redacted]"
MOST_NESTED = 8
CARD = re.compile(  # ISO/IEC 7812; begins as those of banks do, not as times in nanoseconds
    r"[2-6](?<![\w.][2-6])"
    r"(?:\d{12,18}|\d{3}([ -])\d{4}\1\d{4}\1\d{1,7}|\d{3}([ -])\d{6}\2\d{5})(?!\w)"
)
TOKENS = (
    (r"\b([Bb]earer\s+)[\w.~+/=-]{8,}", r"\1"),  # RFC 6750
    (r"\b(Basic\s+)[A-Za-z0-9+/]{8,}=*", r"\1"),  # RFC 7617
    (r"\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)*", ""),  # RFC 7519
    (r"(://[^/\s:@]*:)[^/\s@]+(?=@)", r"\1"),  # RFC 3986, userinfo
    (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", ""),  # RFC 7468
)
ONLY_DIGITS = bytes(ord("0") if code in b"0123456789" else ord(" ") for code in range(256))
LEAST_CARD = b"0" * 13
SHORTEST = 10  # characters of the shortest token that is looked for
REST_OF_LINE = r"(?:cookie|authorization)[\w-]*[\"']?\s*:\s*"
VALUE = r"(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s,;&\"'(){}\[\]]+)"


class Redactor:
    """Masks secrets in texts and in fields."""

    def __init__(self, settings: RedactSettings) -> None:
        names = "|".join(_name_pattern(key) for key in settings.keys)
        self._key = re.compile(names or r"(?!)")
        self._keyed = re.compile(
            rf"(?i)({REST_OF_LINE})[^\n\"']+|((?:{names or '(?!)'})[\w-]*[\"']?\s*[=:]\s*){VALUE}"
        )
        self._patterns = [re.compile(pattern) for pattern in settings.patterns]

    def text(self, text: str) -> str:
        """Return the text without what is, or looks like, a secret."""
        if self._key.search(text.lower()):
            text = self._keyed.sub(lambda found: f"{found[1] or found[2]}{MASK}", text)
        for pattern in self._patterns:
            text = pattern.sub(MASK, text)
        return without_tokens(text)

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields, whole or in parts, without secrets."""
        return {str(key): self._value(str(key), value, 0) for key, value in fields.items()}

    def _value(self, key: str, value: Any, depth: int) -> Any:
        if self._key.search(key.lower()):
            return MASK
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | float):
            return value
        return self._structure(value, depth)

    def _structure(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping) and depth < MOST_NESTED:
            return {str(k): self._value(str(k), item, depth + 1) for k, item in value.items()}
        if isinstance(value, list | tuple) and depth < MOST_NESTED:
            return [self._value("", item, depth + 1) for item in value]
        text = self.text(written(value))
        return value if isinstance(value, int) and text == str(value) else text


def without_tokens(text: str) -> str:
    """Return the text without tokens and card numbers, whatever they are called."""
    if len(text) < SHORTEST:
        return text
    if _may_hold_a_token(text):
        for pattern, kept in TOKENS:
            text = re.sub(pattern, kept + MASK, text)
    return CARD.sub(_without_card, text) if _may_hold_a_card(text) else text


def _may_hold_a_token(text: str) -> bool:
    """Return whether one of TOKENS may match: cheaper than to try them."""
    return "eyJ" in text or "earer" in text or "Basic" in text or "://" in text or "-----" in text


def _may_hold_a_card(text: str) -> bool:
    """Return whether there are enough digits in a row: cheaper than to look for cards."""
    return LEAST_CARD in text.encode("utf-8", "replace").translate(ONLY_DIGITS, b" -")


def _without_card(found: re.Match[str]) -> str:
    digits = [int(character) for character in found[0] if character.isdigit()]
    return MASK if _passes_luhn(digits) else found[0]


def _passes_luhn(digits: Sequence[int]) -> bool:
    """Return whether the last digit fits the others (ISO/IEC 7812-1, annex B)."""
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _name_pattern(key: str) -> str:
    return re.sub(r"[-_]", "[-_]?", key.lower())
