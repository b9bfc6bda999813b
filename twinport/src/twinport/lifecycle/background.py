"""Background tasks: named, awaited, and never missed in silence."""

import asyncio
from collections.abc import Awaitable, Callable

from loguru import logger

from .stop import Stop


class Background:
    """Tasks that run as long as the service; one that ends by itself ends the service in order."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def spawn(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Start `work`; it should run until it is cancelled."""
        task = asyncio.create_task(_run(work), name=name)
        self._tasks[name] = task
        task.add_done_callback(self._ended)

    def running(self) -> list[str]:
        """Return the names of the tasks that still run."""
        return [name for name, task in self._tasks.items() if not task.done()]

    async def end(self, name: str) -> None:
        """Cancel a task and wait for its end."""
        task = self._tasks[name]
        task.remove_done_callback(self._ended)
        task.cancel()
        await asyncio.wait((task,))

    def _ended(self, task: asyncio.Task[None]) -> None:
        name, error = task.get_name(), None if task.cancelled() else task.exception()
        if error is None:
            self._stop.fail(f"background task {name!r} ended by itself")
            return
        logger.opt(exception=error).error("background task {!r} failed", name)
        self._stop.fail(f"background task {name!r} died: {type(error).__name__}")


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    await work()
