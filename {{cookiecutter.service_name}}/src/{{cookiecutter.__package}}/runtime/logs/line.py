"""One record on its way to the sinks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .kinds import Level
from .levels import NUMBERS


@dataclass(slots=True, eq=False)
class Line:
    """What one record says; `fields` have names of the Elastic Common Schema, `labels` our own.

    `stack` is the traceback of `error`. `json` and `texts` hold the forms of the line that some
    sink has asked for: each is made once.
    """

    at: datetime
    level: str
    level_no: int
    logger: str
    message: str
    fields: dict[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    error: BaseException | None = None
    stack: str = ""
    json: bytes | None = None
    texts: dict[bool, bytes] = field(default_factory=dict)


def now(level: Level, logger: str, message: str) -> Line:
    """Return a line of this moment."""
    return Line(datetime.now(UTC), level, NUMBERS[level], logger, message)


def origin(file: str, line: int, function: str | None) -> dict[str, Any]:
    """Return the fields that say where in the code a line comes from."""
    return {
        "log.origin.file.name": file,
        "log.origin.file.line": line,
        "log.origin.function": function,
    }
