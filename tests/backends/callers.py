"""Many calls to a started service, and what its process costs meanwhile."""

import re
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

CALLERS, ANSWER_S = 4, 20


def get_each(port: int, paths: Iterable[str]) -> list[int]:
    """Return the statuses of GET requests, which a few callers send over one connection each."""
    todo = list(paths)
    with ThreadPoolExecutor(CALLERS) as pool:
        parts = pool.map(lambda i: _get_all(port, todo[i::CALLERS]), range(CALLERS))
        return [status for part in parts for status in part]


def _get_all(port: int, paths: list[str]) -> list[int]:
    connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    try:
        return [_get(connection, path) for path in paths]
    finally:
        connection.close()


def _get(connection: HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def memory_bytes(pid: int) -> int:
    """Return the resident memory of a process (proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (kib,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    return int(kib) * 1024


class Stopwatch:
    """The seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._began
