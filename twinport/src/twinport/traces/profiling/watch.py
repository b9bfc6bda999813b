"""Notices code that blocks the event loop, while it does so."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from loguru import logger

from .stacks import stack_of

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


def blocking_stack(loop: asyncio.AbstractEventLoop, thread_id: int, limit_s: float) -> str:
    """Return where the thread of a `loop` is that does not answer; empty if it does."""
    answered = threading.Event()
    with suppress(RuntimeError):  # the loop is closed, but its thread has not come to its end
        loop.call_soon_threadsafe(answered.set)
    return "" if answered.wait(limit_s) else stack_of(thread_id)


class _Watch:
    """The loop beats; a thread listens."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float) -> None:
        self._loop, self._limit_s = loop, limit_s
        self._loop_thread = threading.get_ident()
        self._ended = threading.Event()
        self._last = time.monotonic()
        self._told = False

    def beat(self) -> None:
        blocked_s = self._silent_s()
        if blocked_s > self._limit_s and not self._told:
            # The thread could not listen either.
            blocked = "the event loop was blocked for {:.1f} s by native code, or a busy machine"
            logger.warning(blocked, blocked_s)
        self._last, self._told = time.monotonic(), False
        self._timer = self._loop.call_later(BEAT_S, self.beat)

    def end(self) -> None:
        self._timer.cancel()
        self._ended.set()

    def run(self) -> None:
        while not self._ended.wait(BEAT_S):
            if self._silent_s() > self._limit_s and not self._told:
                self._told = True
                blocked = "the event loop is blocked, for {} s so far:\n{}"
                logger.warning(blocked, self._limit_s, stack_of(self._loop_thread))

    def _silent_s(self) -> float:
        """Return for how long the loop has not done what it should have done."""
        return time.monotonic() - self._last - BEAT_S
