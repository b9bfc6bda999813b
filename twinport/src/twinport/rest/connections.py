"""Everybody who is connected to one port, and what runs for them."""

import asyncio
import logging
import random
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol

from .settings import HttpLimits

LONGEST_PAUSE_S = 1.0  # between two looks at everybody
LOOKS = 4  # within the shortest limit
CUT_S = 0.3  # for a cut handler to say goodbye, and again for its connection to go

CUT = "the service stops"  # why a handler is cancelled whose client may still be there
# Of a scope, until it is read, as they would hold each other: the task that answers, for which to
# ask again is dear before Python 3.12.
HANDLER = "handler"

log = logging.getLogger(__name__)


def age_s(limits: HttpLimits) -> float:
    """Return the age, in seconds, at which one connection is asked to end.

    It differs by a tenth, as gRPC's does, so that those who came together do not leave together.
    """
    return limits.connection_age.total_seconds() * random.uniform(0.9, 1.1)


class Connected(Protocol):
    """One connection."""

    def check(self, now: float) -> None:
        """Do what is due."""

    def retire(self) -> None:
        """Take no more requests; close as soon as those under way are answered."""

    def abort(self) -> None:
        """Drop the connection with all that is under way."""


class Connections:
    """Looks at every connection now and then, and ends them all within a given time."""

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self.ending = False
        self._open: set[Connected] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._handlers: set[asyncio.Task[Any]] = set()
        self._fewer = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether nobody else may connect."""
        return self.ending or len(self._open) >= self.limits.connections

    def join(self, connection: Connected) -> None:
        """Look after `connection` until it leaves."""
        self._open.add(connection)
        if self.ending:  # it came while the others were told
            connection.retire()

    def leave(self, connection: Connected) -> None:
        """Forget `connection`."""
        self._open.discard(connection)
        self._fewer.set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what belongs to a connection."""
        return self._run(work, self._tasks)

    def handle(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run the application for one request; it is cancelled when the grace is over."""
        return self._run(work, self._handlers)

    def adopt(self, handler: asyncio.Task[Any]) -> None:
        """Look after a handler that somebody else has started, until it is released."""
        self._handlers.add(handler)
        if self.ending:
            handler.add_done_callback(self._forget)

    def release(self, handler: asyncio.Task[Any]) -> None:
        """Forget a handler that is about to end: cheaper than to be told of its end."""
        self._handlers.discard(handler)

    async def watch(self) -> None:
        """Check everybody, again and again: cheaper than a timer for each request."""
        loop, pause = asyncio.get_running_loop(), _pause(self.limits)
        while True:
            await asyncio.sleep(pause)
            now = loop.time()
            for connection in tuple(self._open):
                connection.check(now)

    async def end(self, grace: float) -> None:
        """Let what is under way finish for `grace` seconds, then cut it; may be called again."""
        self.ending = True
        for handler in self._handlers:  # it may end without having begun
            handler.add_done_callback(self._forget)
        steps = ((self._retire, grace), (self._cancel, CUT_S), (self._abort, CUT_S))
        for step, patience in steps:
            step()
            if await self._all_gone_within(patience):
                return
        log.warning("%d handlers would not end", len(self._handlers))

    def _retire(self) -> None:
        for connection in tuple(self._open):
            connection.retire()

    def _cancel(self) -> None:
        for handler in tuple(self._handlers):
            handler.cancel(CUT)

    def _abort(self) -> None:
        for connection in tuple(self._open):
            connection.abort()

    def _run(
        self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[Any]]
    ) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        among.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._handlers.discard(task)
        self._fewer.set()

    async def _all_gone_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_gone(), seconds)
        return not self._left

    async def _all_gone(self) -> None:
        while self._left:
            self._fewer.clear()
            await self._fewer.wait()

    @property
    def _left(self) -> bool:
        return bool(self._open or self._tasks or self._handlers)


def _pause(limits: HttpLimits) -> float:
    shortest = min(limits.header_time, limits.send_time, limits.idle_time, limits.connection_age)
    return min(LONGEST_PAUSE_S, shortest.total_seconds() / LOOKS)
