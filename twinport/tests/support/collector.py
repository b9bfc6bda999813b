"""A collector of spans on a real port: as strict as Zipkin's own, and able to fail as one does."""

import json
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from support.lasting import lasting_port

Span = dict[str, Any]

KINDS = {"CLIENT", "SERVER", "PRODUCER", "CONSUMER"}
STRINGS = ("name", "traceId", "id", "parentId", "kind")
ENDPOINT = {"serviceName": str, "ipv4": str, "ipv6": str, "port": int}
IDS = {
    "traceId": r"[0-9a-f]{16}([0-9a-f]{16})?",
    "id": r"[0-9a-f]{16}",
    "parentId": r"[0-9a-f]{16}",
}


class Collector:
    """Takes `POST /api/v2/spans` of Zipkin's API v2 (zipkin2-api.yaml) and `/v1/traces` of OTLP.

    `spans` are Zipkin's, in the order of arrival; `bodies` are those of OTLP, `heads` of both.
    `status` is what it answers, with a cookie; `holds` makes it accept and never answer.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        self.heads: list[Message] = []
        self.mistakes: list[str] = []
        self.status = 202
        self._arrived = threading.Condition()
        self._answers = threading.Event()
        self._answers.set()
        self._port = lasting_port()
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        return self._port

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}/api/v2/spans"

    @property
    def otlp_endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1/traces"

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
        self._answers.set()

    def take(self, path: str, body: bytes) -> int:
        """Keep what was sent and return the status of the answer."""
        self._answers.wait()
        if self.status >= 300:
            return self.status
        with self._arrived:
            if path == "/v1/traces":
                self.bodies.append(body)
            else:
                self._take_spans(body)
            self._arrived.notify_all()
        return 400 if self.mistakes else self.status

    def wait_for(self, enough: Callable[[list[Span]], object], seconds: float = 10) -> list[Span]:
        """Return the spans as soon as `enough` likes them."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: enough(self.spans), seconds), self.spans
            assert not self.mistakes, self.mistakes
            return list(self.spans)

    def wait_for_count(self, count: int, seconds: float = 10) -> list[Span]:
        return self.wait_for(lambda spans: len(spans) >= count, seconds)

    def wait_for_any(self, seconds: float = 10) -> list[Any]:
        """Return what has come, by whatever protocol, as soon as there is something."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: self.bodies or self.spans, seconds)
            return [*self.bodies, *self.spans]

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

    def __init__(self, port: int, collector: Collector) -> None:
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
        self.server.collector.heads.append(self.headers)
        status = self.server.collector.take(self.path, body)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.send_header("set-cookie", "a=b; Path=/")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Keep quiet."""
