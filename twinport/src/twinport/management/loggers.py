"""Levels of loggers, read and changed while the service runs."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Protocol, Self

from annotated_types import Gt, Le
from loguru import logger
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse

from ..logs.kinds import Level
from ..redact import usual
from ..settings import Duration
from ..validation import parsed

ROOT = "root"  # what the logger above all others is called here
LONGEST = timedelta(days=30)


class Loggers(Protocol):
    """The log, as far as its levels go; the root has the empty name."""

    def levels(self) -> Mapping[str, Level]:
        """Return the levels in force."""

    def set_level(self, module: str, level: Level | None, for_s: float | None = None) -> None:
        """Set one; None is back to the settings, and so it is after `for_s` seconds."""


class Change(BaseModel):
    """What is sent to change a level; null is back to the settings."""

    model_config = ConfigDict(extra="forbid")

    level: Level | None
    time: Annotated[Duration, Gt(timedelta(0)), Le(LONGEST)] | None = Field(None, alias="for")

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.level is None and self.time is not None:
            raise ValueError('"for" needs a level; without one it is back to the settings at once')
        return self


def shown(loggers: Loggers) -> JSONResponse:
    """Return the answer that lists every logger with a level of its own."""
    masked, levels = usual().text, sorted(loggers.levels().items())
    return JSONResponse({"loggers": {masked(name) or ROOT: level for name, level in levels}})


async def changed(loggers: Loggers, request: Request) -> JSONResponse:
    """Change the level that the path names; raises InvalidArgumentError."""
    change, name = parsed(Change, await request.body()), request.path_params["name"]
    time_s = change.time.total_seconds() if change.time else None
    loggers.set_level("" if name == ROOT else name, change.level, time_s)
    logger.warning("level of {!r}: {}", name, _told(change))
    return shown(loggers)


def _told(change: Change) -> str:
    told: dict[str, Any] = change.model_dump(mode="json")
    level = told["level"] or "as in the settings"
    return f"{level} for {told['time']}" if told["time"] else level
