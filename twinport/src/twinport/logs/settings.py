"""What the log can be told: levels, what to hide, and any number of sinks."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from ..redact import NAMES, Redactor, redactor_of
from ..settings import Section
from .kinds import ConsoleSink, Level, Sink


def _console_alone() -> dict[str, Sink]:
    return {"console": ConsoleSink()}


class RedactSettings(Section):
    """What is masked, besides tokens, private keys, users in URLs and card numbers."""

    keys: tuple[str, ...] = NAMES
    """Values whose key contains one of these are masked; case and `-` or `_` do not matter. The
    short ones of the default have to be the last word of the key: `pin` is not in `shipping`."""
    patterns: tuple[str, ...] = ()
    """Regular expressions; what they match is masked, too."""

    def redactor(self) -> Redactor:
        """Return what masks that."""
        return redactor_of(self.keys, self.patterns)

    @field_validator("patterns")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r}: {error}") from error
        return patterns


class LogsSettings(Section):
    """What is logged, and where to."""

    level: Level = "INFO"
    """The least level that is logged, where `levels` names no other."""
    levels: dict[str, Level] = Field(default_factory=dict)
    """Levels of single loggers and of those below them; `access` is the line of each call."""
    redact: RedactSettings = RedactSettings()
    """Secrets that must not be logged, nor be in spans."""
    capture_stderr: bool = True
    """Whether lines that gRPC's C core writes to stderr become records of `grpc.core`; false leaves
    stderr alone, and with it the last words of C code that aborts the process."""
    sinks: dict[str, Sink] = Field(default_factory=_console_alone)
    """Where the lines go, by name; `console` is there unless it is disabled."""

    @model_validator(mode="before")
    @classmethod
    def _keep_the_console(cls, tables: Any) -> Any:
        if not isinstance(tables, Mapping) or not isinstance(tables.get("sinks", {}), Mapping):
            return tables
        sinks = dict(tables.get("sinks", {}))
        console = sinks.get("console", {})
        if isinstance(console, Mapping):
            sinks["console"] = {"kind": "console", **console}
        return {**tables, "sinks": sinks}
