"""What the log can be told: levels, what to hide, and any number of sinks."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ..settings import Section

Level = Literal["TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL", "OFF"]


class CommonSink(Section):
    """What every sink can be told."""

    enabled: bool = True
    """Whether the sink is there at all."""
    level: Level = "TRACE"
    """The least level that it takes, of what `logs.level` and `logs.levels` let through."""
    include: tuple[str, ...] = ()
    """Only lines of these loggers and of those below them; empty means all."""
    exclude: tuple[str, ...] = ()
    """No lines of these loggers and of those below them."""


class ConsoleSink(CommonSink):
    """The terminal, or whatever collects the output of the process."""

    kind: Literal["console"] = "console"
    """Which kind of sink this is."""
    stream: Literal["stderr", "stdout"] = "stderr"
    """Where to write."""
    format: Literal["auto", "text", "json"] = "auto"
    """Text for people, or JSON (Elastic Common Schema); auto is text on a terminal only."""


Sink = Annotated[ConsoleSink, Field()]


class LogsSettings(Section):
    """What is logged, and where to."""

    level: Level = "INFO"
    """The least level that is logged, where `levels` names no other."""
    levels: dict[str, Level] = Field(default_factory=dict)
    """Levels of single loggers and of those below them; `access` is the line of each call."""
    sinks: dict[str, Sink] = Field(default_factory=lambda: {"console": ConsoleSink()})
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
