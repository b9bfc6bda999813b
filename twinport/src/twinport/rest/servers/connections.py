"""The connections of one HTTP port: limits, slow readers, graceful shutdown.

What the servers share, whose own is how they speak HTTP.
"""

import asyncio
import fcntl
import logging
import random
import struct
import termios
from collections.abc import Coroutine
from contextlib import suppress
from math import inf
from typing import Any, Protocol

from starlette.types import Send

from ...calls import Call, current, new_ids
from ..exchange import id_headers, peer_of
from ..settings import HttpLimits

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 1.0  # between two looks at everybody
LOOKS = 4  # within the shortest limit
CUT_S = 0.3  # for a cut handler to say goodbye, and again for its connection to go
CUT = "the service stops"  # why a handler is cancelled whose client may still be there


class WatchedConnection(Protocol):
    """One connection, to those who look after all of them."""

    def check(self, now: float) -> None:
        """Do what is due."""

    def retire(self) -> None:
        """Take no more requests; close as soon as those under way are answered."""

    def abort(self) -> None:
        """Drop the connection with all that is under way."""


class Connections:
    """Looks at every connection now and then, and ends them all at a graceful shutdown.

    A handler is the task that answers one request: the stop cuts handlers, but no other task.
    """

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self.ending = False
        self._open: set[WatchedConnection] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._handlers: set[asyncio.Task[Any]] = set()
        self._fewer = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether nobody else may connect."""
        return self.ending or len(self._open) >= self.limits.connections

    def join(self, connection: WatchedConnection) -> None:
        """Look after `connection` until it leaves."""
        self._open.add(connection)
        if self.ending:  # it came while the others were told
            connection.retire()

    def leave(self, connection: WatchedConnection) -> None:
        """Forget `connection`."""
        self._open.discard(connection)
        self._fewer.set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what belongs to a connection."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def adopt(self, handler: asyncio.Task[Any]) -> None:
        """Look after a handler until it is released; it is cancelled when the grace is over."""
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


def age_s(limits: HttpLimits) -> float:
    """Return the age, in seconds, at which one connection is asked to end.

    It differs by a tenth, as gRPC's does, so that those who came together do not leave together.
    """
    return limits.connection_age.total_seconds() * random.uniform(0.9, 1.1)


MIN_BYTES_PER_S = 240  # as Kestrel's MinResponseDataRate: below it, nobody is reading


class Progress:
    """Detects a slow reader by a counter of sent bytes: at each look of a timer, not each write."""

    __slots__ = ("_limit_s", "_sent", "_since")

    def __init__(self, limit_s: float) -> None:
        self._limit_s, self._since, self._sent = limit_s, inf, 0

    def stalled(self, now: float, sent: int, *, waiting: bool) -> bool:
        """Return whether something waits and less than the least rate has left for `limit_s`.

        `sent` may also be what waits, counted downwards: that it grows again shows that it moved.
        The time begins with the first look at something that waits: that nobody looked for a
        while, as the machine was asleep, is no fault of the reader.
        """
        moved = sent - self._sent
        if not waiting:
            self._since = inf
        elif self._since == inf or moved < 0 or moved >= MIN_BYTES_PER_S * self._limit_s:
            self._since, self._sent = now, sent
        return now - self._since > self._limit_s


OUTQ = termios.TIOCOUTQ  # the same number as SIOCOUTQ of tcp(7)
TAKEN_CHECK_S = 0.1  # between two looks whether a client that says nothing has taken all
LINGER_S = 1.0  # for a client to read its answer before the connection is cut (RFC 9112, 9.6)


class BoundedWriter:
    """Writes to one client with flow control, and closes without losing the last answer."""

    def __init__(self, writer: asyncio.StreamWriter, limits: HttpLimits) -> None:
        self._writer, self._progress = writer, Progress(limits.send_time.total_seconds())
        self._transport = writer.transport
        self._written = 0
        self._closing: asyncio.TimerHandle | None = None

    @property
    def sent(self) -> int:
        """Bytes that have left."""
        return self._written - self.backlog

    @property
    def backlog(self) -> int:
        """Bytes that wait for a client who takes them slowly."""
        return self._transport.get_write_buffer_size()

    def push(self, data: bytes) -> None:
        """Write `data`, which is small or has been waited for."""
        if self._closing is None and not self._transport.is_closing():
            self._writer.write(data)
            self._written += len(data)

    async def write(self, data: bytes) -> None:
        """Write `data` and wait while much of it is still here; raises ConnectionError."""
        self.push(data)
        await self._writer.drain()

    def stalled(self, now: float) -> bool:
        """Return whether the client has taken next to nothing for too long."""
        kept = self._in_kernel()
        waiting = self.backlog > 0 or kept > 0
        return self._progress.stalled(now, self.sent - kept, waiting=waiting)

    def close(self, patience_s: float) -> None:
        """Send no more, and close when the client has, or has taken all and had so much time.

        Closed earlier, the port would reset who still sends, be it a WINDOW_UPDATE; and then what
        was said last is lost.
        """
        if not patience_s and not self._in_kernel():
            self._transport.close()
            return
        if self._closing is None:
            self._linger(patience_s or TAKEN_CHECK_S)
        if self._transport.can_write_eof():
            with suppress(OSError, RuntimeError):
                self._transport.write_eof()

    def abort(self) -> None:
        """Drop the connection, and what is still here."""
        if self._closing is not None:
            self._closing.cancel()
        self._transport.abort()

    def _linger(self, seconds: float) -> None:
        self._closing = asyncio.get_running_loop().call_later(seconds, self._close_if_taken)

    def _close_if_taken(self) -> None:
        if self._in_kernel():
            self._linger(TAKEN_CHECK_S)
        else:
            self._transport.close()

    def _in_kernel(self) -> int:
        """Return how many bytes the client has not confirmed; 0 where the kernel does not tell."""
        try:
            size = fcntl.ioctl(self._transport.get_extra_info("socket"), OUTQ, bytes(4))
        except (OSError, ValueError, TypeError):  # closed, or not Linux
            return 0
        return int(struct.unpack("i", size)[0])


ids = new_ids()


def log_refusal(status: int, client: tuple[str, int] | None) -> list[tuple[bytes, bytes]]:
    """Log that `client` is answered `status`, and return the headers that say where to look."""
    refusal = Call("http", *next(ids))
    refusal.request_id = refusal.trace_id
    token = current.set(refusal)  # for the log
    peer = peer_of(client) or "nobody known"
    log.info("refused with %d before it was a call, from %s", status, peer)
    current.reset(token)
    return [*id_headers(refusal)]


async def answer_empty(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    """Answer `status` without a body, as 503 for a handler that a graceful shutdown has cut."""
    fields = [(b"content-length", b"0"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b""})
