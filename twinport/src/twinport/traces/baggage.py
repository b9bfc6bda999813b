"""W3C Baggage, read and written: what nobody has changed is handed on as it came.

OpenTelemetry's own propagator takes `+` for a blank and properties for a part of the value.
"""

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote

from opentelemetry import baggage, context as otel
from opentelemetry.context import Context

OCTETS = r"\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e"  # https://www.w3.org/TR/baggage/#definition
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
MEMBER = re.compile(
    rf"(?P<key>{TOKEN.pattern})[ \t]*=[ \t]*(?P<value>[{OCTETS}]*)[ \t]*(?:;[\t\x20-\x7e]*)?"
)
UNQUOTED = "!#$&'()*+-./:<=>?@[]^_`{|}~"  # of those octets; a percent sign begins an escape
LONGEST, MOST = 8192, 180  # bytes and members that are handed on, whole ones
CAME = otel.create_key("baggage-as-it-came")  # by key: the value, and what it was read from


def extracted(header: str, context: Context) -> Context:
    """Return `context` with the baggage of a header; a member that breaks the rules is left out."""
    came: dict[str, tuple[str, str]] = {}
    for member in _whole(part.strip(" \t") for part in header.split(",")):
        match = MEMBER.fullmatch(member)
        if match is not None:
            key, value = match["key"], unquote(match["value"])
            before = f"{came[key][1]}," if key in came else ""  # the last one counts, all go on
            came[key] = value, before + member
            context = baggage.set_baggage(key, value, context)
    return otel.set_value(CAME, came, context)


def header_of(context: Context | None) -> str:
    """Return the header for the baggage of `context`, or of the current one; empty for none."""
    entries = baggage.get_all(context)
    if not entries:
        return ""
    came = otel.get_value(CAME, context)
    as_it_came = came if isinstance(came, dict) else {}
    return ",".join(_whole(_members(entries.items(), as_it_came)))


def _members(
    entries: Iterable[tuple[str, object]], came: dict[str, tuple[str, str]]
) -> Iterator[str]:
    for key, value in entries:
        before, member = came.get(key, (None, ""))
        yield member if value == before else f"{_key(key)}={quote(str(value), safe=UNQUOTED)}"


def _key(key: str) -> str:
    return key if TOKEN.fullmatch(key) else quote(key, safe="")


def _whole(members: Iterable[str]) -> Iterator[str]:
    """Yield as many members as may be handed on."""
    length = -1
    for number, member in enumerate(filter(None, members)):
        length += 1 + len(member)
        if length > LONGEST or number >= MOST:
            return
        yield member
