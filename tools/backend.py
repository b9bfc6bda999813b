"""Servers that are not ours, as processes of their own on free ports."""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from twinport.testing import Running, own_environment


@contextmanager
def started(
    command: Sequence[str], is_up: Callable[[], bool], seconds: float, **variables: str
) -> Iterator[None]:
    """Keep a server running, at first until `is_up`; raises TimeoutError."""
    with Running(command, Path.cwd(), own_environment() | variables) as server:
        server.name = command[0]
        server.wait_until(is_up, seconds)
        yield


def listens(port: int) -> bool:
    """Tell whether something listens on `port` of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(
    is_so: Callable[[], object], seconds: float, why_not: Callable[[], str] = str
) -> None:
    """Ask ten times a second; raises TimeoutError, which ends with what `why_not` returns."""
    until = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > until:
            raise TimeoutError(f"not so after {seconds} s\n{why_not()}".rstrip())
        time.sleep(0.1)
