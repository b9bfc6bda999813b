"""Profiles, the stacks of all tasks and threads, and a watchdog for code that blocks the loop."""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NamedTuple

from loguru import logger

from .errors import AlreadyExistsError
from .extras import part

_one_at_a_time = threading.Lock()


class Profile(NamedTuple):
    """The same profile as a page with a flame graph, and as JSON for https://speedscope.app."""

    html: str
    speedscope: str


async def profile(seconds: float) -> Profile:
    """Watch for `seconds` what the loop does; raises AlreadyExistsError if one is watching.

    Raises MissingExtraError, too.
    """
    pyinstrument = part("pyinstrument", "a profile")  # most processes never need it
    profiler = pyinstrument.Profiler(async_mode="disabled")  # all tasks, not only this one
    if not _one_at_a_time.acquire(blocking=False):
        raise AlreadyExistsError("a profile is being taken already")
    try:
        profiler.start()
        await asyncio.sleep(seconds)
        session = profiler.stop()
    finally:
        profiler.reset()
        _one_at_a_time.release()
    return await asyncio.to_thread(_rendered, session)


def _rendered(session: Any) -> Profile:
    renderers = part("pyinstrument.renderers", "a profile")
    speedscope = renderers.SpeedscopeRenderer().render(session)
    return Profile(renderers.HTMLRenderer().render(session), speedscope)


def log_stacks(loop: asyncio.AbstractEventLoop) -> None:
    """Log the stacks of all tasks of `loop` and of all threads, from whatever thread."""
    tasks = [_of_task(task) for task in asyncio.all_tasks(loop)]
    threads = [_of_thread(thread) for thread in threading.enumerate()]
    counts = f"{len(tasks)} tasks and {len(threads)} threads"
    _warn_with("\n".join((*tasks, *threads)), f"stacks of {counts}")


def _warn_with(stack: str, message: str) -> None:
    """Log `message` with `stack`, which our sinks show below the line."""

    def add(record: Any) -> None:
        record["stack"] = stack

    logger.patch(add).warning("{}:\n{}", message, stack)


def log_stacks_apart(loop: asyncio.AbstractEventLoop) -> None:
    """Do the same in a thread of its own: it takes a while where there are many tasks."""
    threading.Thread(target=log_stacks, args=(loop,), name="stacks", daemon=True).start()


def stack_of(thread_id: int | None) -> str:
    """Return where a thread is, the innermost call last; empty if it has ended."""
    frame = sys._current_frames().get(thread_id or 0)
    return "".join(traceback.format_stack(frame)) if frame else ""


def blocking_stack(loop: asyncio.AbstractEventLoop, thread_id: int, limit_s: float) -> str:
    """Return where the thread of a `loop` is that does not answer; empty if it does."""
    answered = threading.Event()
    with suppress(RuntimeError):  # the loop is closed, but its thread has not come to its end
        loop.call_soon_threadsafe(answered.set)
    return "" if answered.wait(limit_s) else stack_of(thread_id)


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


LIMIT_S = 0.5
BEAT_S = 0.1


@contextmanager
def watching(loop: asyncio.AbstractEventLoop, limit_s: float = LIMIT_S) -> Iterator[None]:
    """Log once, with its stack, what keeps the running `loop` from all else for `limit_s`."""
    watch = _Watch(loop, limit_s)
    thread = threading.Thread(target=watch.run, name="loop-watch", daemon=True)
    watch.beat()
    thread.start()
    try:
        yield
    finally:
        watch.end()


class _Watch:
    """A heartbeat of the loop, to which a thread listens."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float) -> None:
        self._loop, self._limit_s = loop, limit_s
        self._loop_thread = threading.get_ident()
        self._ended = threading.Event()
        self._last = time.monotonic()
        self._is_logged = False

    def beat(self) -> None:
        blocked_s = self._silent_s()
        if blocked_s > self._limit_s and not self._is_logged:
            # The thread could not listen either.
            blocked = "the event loop was blocked for {:.1f} s by native code, or a busy machine"
            logger.warning(blocked, blocked_s)
        self._last, self._is_logged = time.monotonic(), False
        self._timer = self._loop.call_later(BEAT_S, self.beat)

    def end(self) -> None:
        self._timer.cancel()
        self._ended.set()

    def run(self) -> None:
        while not self._ended.wait(BEAT_S):
            if self._silent_s() > self._limit_s and not self._is_logged:
                self._is_logged = True
                blocked = f"the event loop is blocked, for {self._limit_s} s so far"
                _warn_with(stack_of(self._loop_thread), blocked)

    def _silent_s(self) -> float:
        """Return for how long the loop has not done what it should have done."""
        return time.monotonic() - self._last - BEAT_S
