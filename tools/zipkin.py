"""A real Zipkin server: started from its jar on a free port, and asked."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from twinport.testing import free_port

from .backend import started

BUILD = Path(__file__).parents[1] / ".build"
START_S, ANSWER_S = 180, 15
QUICK = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # it is asked little

Span = dict[str, Any]


class Zipkin:
    """A started server; `endpoint` takes spans, `url` is its dashboard."""

    def __init__(self, port: int) -> None:
        self._at = f"http://127.0.0.1:{port}"
        self.url = f"{self._at}/zipkin"
        self.endpoint = f"{self._at}/api/v2/spans"

    def get(self, path: str) -> Any:
        """Return what the API answers; None if it knows no such thing."""
        try:
            with urlopen(f"{self._at}{path}", timeout=ANSWER_S) as answer:
                return json.load(answer)
        except HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise

    def trace(self, trace_id: str, is_whole: Callable[[list[Span]], object]) -> list[Span]:
        """Return the spans of a trace once it is whole, or those that came in time."""
        until = time.monotonic() + ANSWER_S
        while True:
            spans: list[Span] = self.get(f"/api/v2/trace/{trace_id}") or []
            if is_whole(spans) or time.monotonic() > until:
                return spans
            time.sleep(0.1)

    def links(self) -> list[dict[str, Any]]:
        """Return which service has called which."""
        links: list[dict[str, Any]] = self.get(
            f"/api/v2/dependencies?endTs={time.time_ns() // 1_000_000}"
        )
        return links

    def is_up(self) -> bool:
        """Tell whether it has started."""
        try:
            return bool(self.get("/health")["status"] == "UP")
        except OSError:
            return False


@contextmanager
def zipkin(**storage: str) -> Iterator[Zipkin]:
    """Keep a server running; `storage` are variables, as where else than in memory spans are kept.

    Raises TimeoutError.
    """
    server = Zipkin(port := free_port())
    (jar,) = BUILD.glob("zipkin-server-*-slim.jar")  # by `make .build/zipkin...`
    command = ("java", *QUICK, "-jar", str(jar))
    variables = {"QUERY_PORT": str(port), "STORAGE_TYPE": "mem"} | storage
    with started(command, server.is_up, START_S, **variables):
        yield server
