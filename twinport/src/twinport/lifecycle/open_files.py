"""The limit of open files: raised at the start, a few kept aside, and a line while none is free.

A connection is an open file. A port at the limit can take none: libuv accepts and closes, asyncio
and gRPC let it wait.
"""

import asyncio
import errno
import math
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from loguru import logger

KEPT = 16  # for a port that has to answer when no other can, by raising the soft limit for a moment
LOOK_S = 1.0
REPORT_EVERY_S = 60.0
NONE_FREE = (
    "no file descriptor is free, of {}: ports but management's take no connections, and what opens"
    " a file or calls others fails; raise the limit (ulimit -n), or lower the connections of"
    " http.limits and grpc.limits"
)


def allow_many_files() -> None:
    """Raise the soft limit almost to the hard one, as programs in Go do: select(2) needs a low one.

    What is between both is for `accepted`.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = hard if hard == resource.RLIM_INFINITY else max(1, hard - KEPT)
    with suppress(OSError, ValueError):  # macOS says that it is infinite, and grants less
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def accepted(listening: socket.socket) -> socket.socket:
    """Accept a connection, also where no descriptor is free for others; raises OSError."""
    try:
        return listening.accept()[0]
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
    with _more_files(KEPT):
        return listening.accept()[0]


@contextmanager
def _more_files(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    more = soft + count
    raised = more if hard == resource.RLIM_INFINITY else min(more, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def open_files_watched() -> Iterator[None]:
    """Say at most once a minute that no descriptor is free, while the running loop is in here."""
    watch = _Watch()
    watch.look()
    try:
        yield
    finally:
        watch.end()


class _Watch:
    def __init__(self) -> None:
        self._said_at = -math.inf

    def look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self.look)
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE}:
                self._say()

    def end(self) -> None:
        self._timer.cancel()

    def _say(self) -> None:
        now = time.monotonic()
        if now - self._said_at >= REPORT_EVERY_S:
            self._said_at = now
            logger.warning(NONE_FREE, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
