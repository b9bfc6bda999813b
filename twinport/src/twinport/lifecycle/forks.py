"""Keeps the ports of the service out of forked children."""

import os
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

INTERNET = (socket.AF_INET, socket.AF_INET6)


@contextmanager
def kept_from_children(ports: Collection[int]) -> Iterator[None]:
    """Let no child that is forked meanwhile hold a socket of `ports`, listening or accepted.

    It would keep a port taken, and a connection open, after the service has closed its own.
    """
    kept = set(ports)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _let_go(kept))  # for ever, hence `clear`
    try:
        yield
    finally:
        kept.clear()


def _let_go(ports: Collection[int]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in _open_descriptors() if ports else ():
        if _port(descriptor) in ports:  # not closed: objects that know the number may close it
            os.dup2(null, descriptor, inheritable=False)
    os.close(null)


def _open_descriptors() -> list[int]:
    with suppress(OSError):  # neither /proc nor its like is there
        return [int(name) for name in os.listdir("/dev/fd")]
    return []


def _port(descriptor: int) -> int | None:
    try:
        borrowed = socket.socket(fileno=descriptor)
    except OSError:  # no socket
        return None
    try:
        port: int | None = borrowed.getsockname()[1] if borrowed.family in INTERNET else None
        return port
    finally:
        borrowed.detach()
