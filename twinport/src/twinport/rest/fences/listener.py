"""What all connections of one port share."""

from dataclasses import dataclass, field

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from starlette.types import ASGIApp

from ..connections import Connections
from ..settings import HttpLimits


@dataclass(frozen=True)
class Listener:
    """One port: its application, its bounds, and who is there."""

    app: ASGIApp
    config: Config
    limits: HttpLimits
    connections: Connections
    context: WorkerContext = field(default_factory=lambda: WorkerContext(None))
