"""The tasks of one connection; what breaks one of them breaks no other connection."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from hypercorn.asyncio.task_group import TaskGroup

from ..connections import Connections

log = logging.getLogger("hypercorn.error")


class Tasks(TaskGroup):
    """Stands in for hypercorn's task group, which can hang on an error in one of its tasks."""

    def __init__(self, connections: Connections, on_error: Callable[[], None]) -> None:
        super().__init__(asyncio.get_running_loop())
        self._connections, self._on_error = connections, on_error

    def spawn(self, func: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Run what belongs to the connection."""
        self._connections.spawn(func(*args)).add_done_callback(self._ended)

    def spawn_handler(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run the application for one request."""
        handler = self._connections.handle(work)
        handler.add_done_callback(_answered)
        return handler

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("connection ended: %r", error)
            self._on_error()


def _answered(handler: asyncio.Task[None]) -> None:
    if not handler.cancelled() and (error := handler.exception()) is not None:
        log.error("the application raised", exc_info=error)
