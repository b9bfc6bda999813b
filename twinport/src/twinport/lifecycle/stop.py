"""Graceful shutdown: the wish to stop, background tasks, and the end if the stop itself hangs."""

import asyncio
import faulthandler
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from loguru import logger

from ..errors import StartupError
from ..redact import visible
from .signals import Signals, call_in

# Ctrl-C reaches all processes of a terminal, and those that started others (make, a supervisor)
# send theirs a signal as well: it is one wish.
SAME_WISH_S = 1.0

ANSWER_S = 0.5  # in which the event loop may show that it is not blocked
LAST_WORDS_S = 1.0  # that and the line are the last part of its time
STDERR = 2  # of a process that began with it closed, for which Python has no object


class Stop:
    """Set once; a second signal sets `hurry`, which skips every wait."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()
        self.failure: str | None = None
        self._signalled_at = -math.inf

    def fail(self, failure: str) -> None:
        """Ask for a stop with exit status 1; `failure` is one line, the first one counts."""
        self.failure = self.failure or failure
        self.asked.set()

    def on_signals(
        self, signals: Signals, arm: Callable[[bool], None], first: Callable[[], None]
    ) -> None:
        """Follow SIGINT and SIGTERM, and call `first` with the first one.

        `arm` is called at once, also while the loop is blocked, and told whether there is a hurry.
        """
        loop = asyncio.get_running_loop()

        def signalled(number: signal.Signals) -> None:
            now, before = time.monotonic(), self._signalled_at
            if now - before < SAME_WISH_S:
                return
            self._signalled_at = now
            is_second = self.asked.is_set() or before > -math.inf
            arm(is_second)
            if is_second:
                logger.warning("{} again: stopping at once", number.name)
                call_in(loop, self.hurry.set)
                return
            logger.info("{}: stopping", number.name)
            call_in(loop, self.asked.set)
            call_in(loop, first)

        for number in (signal.SIGINT, signal.SIGTERM):
            signals.on(number, partial(signalled, number), urgent=partial(arm, False))

    async def pause(self, seconds: float) -> None:
        """Wait for `seconds`, or until there is a hurry."""
        await asyncio.wait([hurry := asyncio.ensure_future(self.hurry.wait())], timeout=seconds)
        hurry.cancel()


FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # before a restart; each is twice the one before


class Background:
    """Tasks beside the calls; one that ends although it must not ends the service in order.

    `restarts` counts, by name, how often those that may fail have begun anew.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._may_end: set[str] = set()
        self.restarts: dict[str, int] = {}

    def spawn(
        self, name: str, work: Callable[[], Awaitable[None]], *, once: bool, restart: bool
    ) -> None:
        """Start `work`, see `Service.spawn`; raises StartupError if one of that name runs."""
        if name in self.running():
            raise StartupError(f"background task {name!r} is spawned twice")
        if once:
            self._may_end.add(name)
        if restart:
            self.restarts.setdefault(name, 0)
        task = asyncio.create_task(
            self._restarted(name, work) if restart else _run(work), name=name
        )
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
            if name not in self._may_end or task.cancelled():
                self._stop.fail(f"background task {name!r} ended by itself")
            return
        logger.opt(exception=error).error("background task {!r} failed", name)
        self._stop.fail(f"background task {name!r} died: {type(error).__name__}")

    async def _restarted(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            error = await _failure(work)
            if error is None and name in self._may_end:
                return
            if time.monotonic() - began > LONGEST_PAUSE_S:  # it had recovered
                pause_s = FIRST_PAUSE_S
            self.restarts[name] += 1
            how = "failed" if error else "ended by itself"
            line = "background task {!r} {}, begins anew in {:g} s"
            logger.opt(exception=error).error(line, name, how, pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def _failure(work: Callable[[], Awaitable[None]]) -> Exception | None:
    try:
        await work()
    except Exception as error:
        return error
    return None


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    await work()


class LastResort:
    """Armed at the signal; `running` says in a few words what has not stopped yet.

    `blocked` returns the stack of what keeps the event loop from answering within some seconds.
    """

    def __init__(
        self, program: str, running: Callable[[], str], blocked: Callable[[float], str]
    ) -> None:
        self._program, self._running, self._blocked = program, running, blocked
        self._timer: threading.Timer | None = None
        self._at = math.inf
        self._arming = threading.RLock()  # a signal's handler may interrupt the main thread in it

    def arm(self, seconds: float) -> None:
        """Let the process live for at most `seconds` from now, and no longer than said before."""
        with self._arming:
            at = time.monotonic() + seconds
            if at < self._at:
                self._at = at
                _end_without_lock(seconds)
                self._start_timer(seconds - LAST_WORDS_S)

    def _start_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        _end_without_lock(LAST_WORDS_S)  # from now on: a busy machine may have let it wait
        running = visible(self._running())
        line = f"{self._program}: did not stop in time, still running: {running}"
        stack = self._blocked(ANSWER_S)
        text = f"{line}, while the event loop is blocked:\n{stack}" if stack else f"{line}\n"
        faulthandler.cancel_dump_traceback_later()
        with suppress(OSError, ValueError):  # a disk that is full: the process has to end even so
            print(text, end="", file=sys.stderr, flush=True)
        os._exit(1)


def _end_without_lock(seconds: float) -> None:
    """End the process in so many seconds, even if code in C keeps Python's lock for ever."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.stderr or STDERR)
