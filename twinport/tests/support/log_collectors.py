"""Stand-ins for what collects logs: each can be stopped, slow, and started again."""

import json
import ssl
import struct
import threading
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import BaseRequestHandler, StreamRequestHandler, ThreadingTCPServer
from typing import Any

from twinport.testing import free_port

PATIENCE_S = 20.0


class Collector:
    """Takes lines in one of the protocols; acknowledges while `is_awake` is set."""

    def __init__(self, protocol: str, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self.lines: list[dict[str, Any]] = []
        self.asked = threading.Semaphore(0)  # once for each batch that has come
        self.is_awake = threading.Event()
        self.is_awake.set()
        self.refusal = 400  # the status for a batch with a line that it refuses
        self.most = 1_000_000  # lines of a batch that it does not refuse
        self.refuse: Callable[[dict[str, Any]], bool] = lambda _line: False
        self.port = free_port()
        self._handler = type("Handler", (HANDLERS[protocol],), {"collector": self})
        self._changed = threading.Condition()
        self._server: Server | None = None

    def start(self) -> None:
        self._server = Server(("127.0.0.1", self.port), self._handler)
        if self._context is not None:
            self._server.socket = self._context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.close_all()
            self._server = None

    def take(self, lines: list[dict[str, Any]]) -> bool:
        """Keep the lines, unless stopped while asleep."""
        server = self._server
        self.asked.release()
        self.is_awake.wait(PATIENCE_S)
        if server is not self._server:
            return False
        with self._changed:
            self.lines += lines
            self._changed.notify_all()
        return True

    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines]

    def await_count(self, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.lines) >= count, PATIENCE_S)

    def await_messages(self, expected: set[str]) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: expected <= {*self.messages()}, PATIENCE_S)


class Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._open: set[Any] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def close_all(self) -> None:
        self.server_close()
        for request in list(self._open):
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that is cut is part of the test."""


class Tcp(StreamRequestHandler):
    collector: Collector

    def handle(self) -> None:
        for line in self.rfile:
            self.collector.take([json.loads(line)])


class Beats(StreamRequestHandler):
    """Version 2 of the lumberjack protocol (github.com/elastic/go-lumber)."""

    collector: Collector

    def handle(self) -> None:
        while head := self.rfile.read(6):
            version, kind, count = struct.unpack(">ccI", head)
            assert (version, kind) == (b"2", b"W")
            version, kind, size = struct.unpack(">ccI", self.rfile.read(6))
            assert (version, kind) == (b"2", b"C")
            lines = frames(zlib.decompress(self.rfile.read(size)))
            assert len(lines) == count
            self.wfile.write(struct.pack(">ccI", b"2", b"A", 0))  # still busy
            if self.collector.take(lines):
                self.wfile.write(struct.pack(">ccI", b"2", b"A", count))


def frames(data: bytes) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    while data:
        version, kind, number, size = struct.unpack(">ccII", data[:10])
        assert (version, kind, number) == (b"2", b"J", len(lines) + 1)
        lines.append(json.loads(data[10 : 10 + size]))
        data = data[10 + size :]
    return lines


class Http(BaseHTTPRequestHandler):
    collector: Collector

    def do_POST(self) -> None:
        lines = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        too_many = len(lines) > self.collector.most
        refused = too_many or any(self.collector.refuse(line) for line in lines)
        if refused or self.collector.take(lines):
            self.send_response(self.collector.refusal if refused else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


HANDLERS: dict[str, type[BaseRequestHandler]] = {"tcp": Tcp, "beats": Beats, "http": Http}
