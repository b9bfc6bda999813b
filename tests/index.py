"""An index of packages that stands in for a company's, and writes down what it is asked for."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

USUAL = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL")
USUAL = (USUAL or "https://pypi.org/simple").rstrip("/")


class Index(ThreadingHTTPServer):
    """Has the wheels that it is given (PEP 503); sends on who asks for others, if `sends_on`."""

    daemon_threads = True

    def __init__(self, wheels: list[Path], sends_on: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wheels = {path.name.split("-")[0].replace("_", "-"): path for path in wheels}
        self.sends_on = sends_on
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"


@contextmanager
def serving(*wheels: Path, sends_on: bool) -> Iterator[Index]:
    """Serve an index until the block ends."""
    with Index(list(wheels), sends_on) as index:
        thread = Thread(target=index.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield index
        finally:
            index.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        name = self.path.strip("/").split("/")[-1]
        self.server.asked.append(self.path)
        files = {path.name: path for path in self.server.wheels.values()}
        if name in files:
            self._answer(200, files[name].read_bytes(), "application/octet-stream")
        elif name in self.server.wheels:
            self._answer(200, _page(self.server.wheels[name]), "text/html")
        elif self.server.sends_on:
            self._answer(302, b"", "text/html", Location=f"{USUAL}/{name}/")
        else:
            self._answer(404, b"", "text/html")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        headers |= {"Content-Type": kind, "Content-Length": str(len(body))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _page(wheel: Path) -> bytes:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f'<a href="/files/{wheel.name}#sha256={digest}">{wheel.name}</a>'.encode()
