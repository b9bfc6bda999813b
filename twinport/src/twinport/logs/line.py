"""One record on its way to the sinks."""

from collections.abc import Mapping
from time import time
from types import MappingProxyType
from typing import Any

from .kinds import Level
from .levels import NUMBERS


class Line:
    """What one record says; `fields` have names of the Elastic Common Schema, `labels` our own.

    `stack` is the traceback of `error`, in which the frames of `package` are the service's own.
    `at` is in seconds since 1970. `common` is the end of the JSON, the same in every line of the
    process. `json`, `text` and `coloured` are the forms that some sink has asked for: each is made
    once.
    """

    fields: Mapping[str, Any] = MappingProxyType({})
    labels: Mapping[str, Any] | None = None
    error: BaseException | None = None
    stack: str = ""
    package: str = ""
    common: bytes = b"}\n"
    json: bytes | None = None
    text: bytes | None = None
    coloured: bytes | None = None

    def __init__(self, at: float, level: str, level_no: int, logger: str, message: str) -> None:
        self.at, self.level, self.level_no = at, level, level_no
        self.logger, self.message = logger, message


def now(level: Level, logger: str, message: str) -> Line:
    """Return a line of this moment."""
    return Line(time(), level, NUMBERS[level], logger, message)


def origin(file: str, line: int, function: str | None) -> dict[str, Any]:
    """Return the fields that say where in the code a line comes from."""
    return {
        "log.origin.file.name": file,
        "log.origin.file.line": line,
        "log.origin.function": function,
    }
