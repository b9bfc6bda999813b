"""A web hook that remembers what it was told."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .receiver import receiving


class Hook:
    """What was sent, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: list[tuple[float, dict[str, Any]]] = []  # with the time, in seconds

    @property
    def told(self) -> list[dict[str, Any]]:
        return [message for _, message in list(self.heard)]


@contextmanager
def hook() -> Iterator[Hook]:
    """Keep a hook listening."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            listening.heard.append((time.monotonic(), json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening = Hook(f"http://127.0.0.1:{server.server_port}/")
    with receiving(server):
        yield listening
