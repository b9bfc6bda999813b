"""A fake Zipkin on a real port: as strict as the real one, and able to fail as one does.

Needs the standard library alone.
"""

import json
import random
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Span = dict[str, Any]

CHOSEN = range(10_000, 32_768)  # below those that a system gives to whoever connects
OTLP = "/v1/traces"
FIRST_REFUSAL, BAD_REQUEST, ACCEPTED = 300, 400, 202
KINDS = {"CLIENT", "SERVER", "PRODUCER", "CONSUMER"}
STRINGS = ("name", "traceId", "id", "parentId", "kind")
ENDPOINT = {"serviceName": str, "ipv4": str, "ipv6": str, "port": int}
IDS = {
    "traceId": r"[0-9a-f]{16}([0-9a-f]{16})?",
    "id": r"[0-9a-f]{16}",
    "parentId": r"[0-9a-f]{16}",
}


def free_port() -> int:
    """Return a port that nobody listens on, and that nobody is given for an outgoing connection.

    So it can be left for a moment, as by a server that is started again.
    """
    while True:
        port = random.choice(CHOSEN)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class FakeZipkin:
    """Takes `POST /api/v2/spans` of Zipkin's API v2 (zipkin2-api.yaml) and `/v1/traces` of OTLP.

    `spans` are Zipkin's, in the order of arrival, `mistakes` is what it would refuse in them;
    `bodies` are those of OTLP. `status` is what it answers.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        self.mistakes: list[str] = []
        self.status = ACCEPTED
        self._arrived = threading.Condition()
        self._answers = threading.Event()
        self._answers.set()
        self._port = free_port()
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port, the same after another start."""
        return self._port

    @property
    def endpoint(self) -> str:
        """Where Zipkin's spans go: a value of `traces.endpoint`."""
        return f"http://127.0.0.1:{self._port}/api/v2/spans"

    @property
    def otlp_endpoint(self) -> str:
        """The same for OTLP."""
        return f"http://127.0.0.1:{self._port}{OTLP}"

    def start(self) -> None:
        """Listen; after a stop on the same port as before."""
        self._server = _Server(self._port, self)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Close the port and every connection: from now on it refuses."""
        self.answer_again()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def hold(self) -> None:
        """Accept from now on, but never answer."""
        self._answers.clear()

    def answer_again(self) -> None:
        """Answer from now on, also those who wait."""
        self._answers.set()

    def take(self, path: str, body: bytes) -> int:
        """Keep what was sent and return the status of the answer."""
        self._answers.wait()
        if self.status >= FIRST_REFUSAL:
            return self.status
        with self._arrived:
            if path == OTLP:
                self.bodies.append(body)
            else:
                self._take_spans(body)
            self._arrived.notify_all()
        return BAD_REQUEST if self.mistakes else self.status

    def wait_for(
        self, is_enough: Callable[[list[Span]], object], seconds: float = 10
    ) -> list[Span]:
        """Return the spans once they are enough; raises TimeoutError, ValueError for mistakes."""
        self._wait(lambda: is_enough(self.spans), seconds)
        if self.mistakes:
            raise ValueError(f"Zipkin would refuse: {'; '.join(self.mistakes)}")
        return list(self.spans)

    def wait_for_count(self, count: int, seconds: float = 10) -> list[Span]:
        """Return the spans as soon as there are so many."""
        return self.wait_for(lambda spans: len(spans) >= count, seconds)

    def wait_for_any(self, seconds: float = 10) -> list[Any]:
        """Return what has come, by whatever protocol, as soon as there is something."""
        self._wait(lambda: self.bodies or self.spans, seconds)
        return [*self.bodies, *self.spans]

    def _wait(self, is_enough: Callable[[], object], seconds: float) -> None:
        with self._arrived:
            if not self._arrived.wait_for(is_enough, seconds):
                raise TimeoutError(f"after {seconds} s there are only: {self.spans}")

    def _take_spans(self, body: bytes) -> None:
        spans = json.loads(body)
        for span in spans:
            self.mistakes += mistakes_of(span)
        self.spans += spans


def mistakes_of(span: Span) -> list[str]:
    """Return what Zipkin's own reader would refuse in `span`."""
    texts = [f"{key}: no string" for key in STRINGS if not isinstance(span.get(key) or "", str)]
    ids = [
        f"{key}: {span.get(key)!r} is no id"
        for key, pattern in IDS.items()
        if (key in span or key != "parentId") and not re.fullmatch(pattern, str(span.get(key)))
    ]
    numbers = [
        f"{key}: {span.get(key)!r} is no number of microseconds"
        for key in ("timestamp", "duration")
        if not isinstance(span.get(key), int) or span[key] < 0
    ]
    kind = [] if span.get("kind") in {None, *KINDS} else [f"kind: {span['kind']!r}"]
    return [*texts, *ids, *numbers, *kind, *_tags(span), *_annotations(span), *_endpoint(span)]


def _tags(span: Span) -> list[str]:
    tags = span.get("tags", {})
    return [f"tags.{key}: no string" for key in tags if not isinstance(tags[key], str)]


def _annotations(span: Span) -> list[str]:
    return [
        f"annotation {noted}"
        for noted in span.get("annotations", [])
        if not isinstance(noted.get("timestamp"), int) or not isinstance(noted.get("value"), str)
    ]


def _endpoint(span: Span) -> list[str]:
    endpoint = span.get("localEndpoint", {})
    if not endpoint.get("serviceName"):
        return ["localEndpoint: no serviceName"]
    return [
        f"localEndpoint.{key}: {value!r}"
        for key, value in endpoint.items()
        if not isinstance(value, ENDPOINT.get(key, ()))
    ]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, port: int, collector: FakeZipkin) -> None:
        self.collector = collector
        self._connections: set[Any] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet: connections break off when the collector is stopped."""

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(2)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        status = self.server.collector.take(self.path, body)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Keep quiet."""
