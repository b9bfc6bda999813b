"""The tasks of one connection; what breaks one of them breaks no other connection."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from hypercorn.asyncio.task_group import TaskGroup

from .listener import Listener

log = logging.getLogger("hypercorn.error")


class Tasks(TaskGroup):
    """Stands in for hypercorn's task group, which can hang on an error in one of its tasks."""

    def __init__(self, listener: Listener, on_error: Callable[[], None]) -> None:
        super().__init__(asyncio.get_running_loop())
        self._listener, self._on_error = listener, on_error

    def spawn(self, func: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Run what belongs to the connection."""
        task = self._loop.create_task(func(*args))
        self._listener.tasks.add(task)
        task.add_done_callback(self._ended)

    def spawn_handler(self, handling: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run the application for one request."""
        task = self._loop.create_task(handling)
        self._listener.handlers.add(task)
        task.add_done_callback(self._answered)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._listener.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("connection ended: %r", error)
            self._on_error()

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._listener.handlers.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the application raised", exc_info=error)
