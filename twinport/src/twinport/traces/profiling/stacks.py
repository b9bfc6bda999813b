"""Where every task and every thread of this process is at the moment."""

import asyncio
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

from loguru import logger


def log_stacks(loop: asyncio.AbstractEventLoop) -> None:
    """Log the stacks of all tasks of `loop` and of all threads, from whatever thread."""
    tasks = [_of_task(task) for task in asyncio.all_tasks(loop)]
    threads = [_of_thread(thread) for thread in threading.enumerate()]
    told = "\n".join((*tasks, *threads))
    logger.warning("stacks of {} tasks and {} threads:\n{}", len(tasks), len(threads), told)


def log_stacks_apart(loop: asyncio.AbstractEventLoop) -> None:
    """Do the same in a thread of its own: it takes a while where there are many tasks."""
    threading.Thread(target=log_stacks, args=(loop,), name="stacks", daemon=True).start()


def stack_of(thread_id: int | None) -> str:
    """Return where a thread is, the innermost call last; empty if it has ended."""
    frame = sys._current_frames().get(thread_id or 0)
    return "".join(traceback.format_stack(frame)) if frame else ""


def _of_thread(thread: threading.Thread) -> str:
    return f"thread {thread.name}\n{stack_of(thread.ident)}"


def _of_task(task: asyncio.Task[Any]) -> str:
    lines = [
        line
        for frame in _frames(task.get_coro())
        for line in traceback.format_stack(frame, limit=1)
    ]
    return f"task {task.get_name()}\n{''.join(lines)}"


def _frames(awaited: Any) -> Iterator[FrameType]:
    """Yield the frames from the coroutine of a task down to what it waits for."""
    while awaited is not None:
        kind = next((kind for kind in ("cr", "ag", "gi") if hasattr(awaited, f"{kind}_frame")), "")
        frame = getattr(awaited, f"{kind}_frame", None)
        if frame is None:
            return
        yield frame
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await", None)
