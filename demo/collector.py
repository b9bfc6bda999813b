"""A collector of spans: takes Zipkin's v2 JSON over HTTP, and checks it."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Span = dict[str, Any]

IDS = {"traceId": r"[0-9a-f]{32}", "id": r"[0-9a-f]{16}", "parentId": r"[0-9a-f]{16}"}
KINDS = {None, "CLIENT", "SERVER", "PRODUCER", "CONSUMER"}


class Collector:
    """Keeps `spans` as they arrive, and what was wrong with any of them as `mistakes`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.mistakes: list[str] = []
        self.endpoint = ""
        self._arrived = threading.Condition()

    def take(self, body: bytes) -> None:
        """Keep the spans of one request."""
        with self._arrived:
            spans = json.loads(body)
            self.spans += spans
            self.mistakes += [mistake for span in spans for mistake in mistakes_of(span)]
            self._arrived.notify_all()

    def wait_for(self, is_enough: Callable[[list[Span]], bool], seconds: float) -> list[Span]:
        """Return the spans as soon as they are enough, or those that came in time."""
        with self._arrived:
            self._arrived.wait_for(lambda: is_enough(self.spans), seconds)
            return list(self.spans)


@contextmanager
def collecting() -> Iterator[Collector]:
    """Collect on a free port of this machine."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that http.server asks for
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Leave the terminal to the demo."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.endpoint = f"http://127.0.0.1:{server.server_port}/api/v2/spans"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield collector
        finally:
            server.shutdown()


def mistakes_of(span: Span) -> Iterator[str]:
    """Yield what Zipkin would not understand (zipkin2-api.yaml)."""
    for key, pattern in IDS.items():
        if (key in span or key != "parentId") and not re.fullmatch(pattern, str(span.get(key))):
            yield f"{key} {span.get(key)!r}"
    if any(not isinstance(span.get(key), int) for key in ("timestamp", "duration")):
        yield f"no times in {span.get('name')!r}"
    if not span.get("localEndpoint", {}).get("serviceName"):
        yield f"no service name in {span.get('name')!r}"
    if span.get("kind") not in KINDS:
        yield f"kind {span['kind']!r}"
