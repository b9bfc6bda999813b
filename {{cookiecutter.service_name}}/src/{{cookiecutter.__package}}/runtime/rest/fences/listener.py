"""What all connections of one port share."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from starlette.types import ASGIApp

from ..settings import HttpLimits

if TYPE_CHECKING:
    from .connection import Connection


@dataclass(frozen=True)
class Listener:
    """One port: its application, its bounds, and who is there."""

    app: ASGIApp
    config: Config
    limits: HttpLimits
    context: WorkerContext = field(default_factory=lambda: WorkerContext(None))
    connections: "set[Connection]" = field(default_factory=set)
    handlers: set[asyncio.Task[None]] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def busy(self) -> set[asyncio.Task[None]]:
        """Everything that runs for a client."""
        return self.tasks | self.handlers

    @property
    def stopping(self) -> bool:
        """Whether no new request is taken."""
        return self.context.terminated.is_set()
