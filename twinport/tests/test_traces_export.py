"""What becomes of spans when the backend is there, slow, gone, or comes back."""

import asyncio
import json
import re
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from twinport.logs import bounded_queue
from twinport.logs.settings import RedactSettings
from twinport.settings import Identity
from twinport.testing import FakeZipkin
from twinport.tls.authority import Authority, write
from twinport.traces import TracesSettings, Tracing, span, traced, tracing
from twinport.traces.http_exporters import TIMEOUT_S

PRODUCTION = Identity(name="order-book", environment="production")
DEVELOPMENT = Identity(name="order-book", environment="development")


class Lines(list[str]):
    """Everything that was logged, as text."""

    def __init__(self) -> None:
        super().__init__()
        self._came = threading.Condition()

    def write(self, line: str) -> None:
        with self._came:
            self.append(line)
            self._came.notify_all()

    def wait_for(self, count: int) -> None:
        with self._came:
            assert self._came.wait_for(lambda: len(self) >= count, 10)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")


@pytest.fixture
def lines() -> Iterator[Lines]:
    for thread in threading.enumerate():
        if thread.name == "traces":  # of a test before, which did not wait for its last line
            thread.join(10)
    sink = logger.add(lines := Lines(), format="{message}{exception}")
    yield lines
    logger.remove(sink)


@pytest.fixture
def collector() -> Iterator[FakeZipkin]:
    with FakeZipkin() as collector:
        yield collector


@contextmanager
def traced_by(collector: FakeZipkin, identity: Identity = PRODUCTION) -> Iterator[Tracing]:
    with tracing(TracesSettings(endpoint=collector.endpoint), identity) as traces:
        yield traces


def make_spans(count: int) -> None:
    for number in range(count):
        with span("work", number=number):
            pass


def close(traces: Tracing, seconds: float) -> float:
    """Return the seconds that it took."""
    before = time.monotonic()
    asyncio.run(traces.close(seconds))
    return time.monotonic() - before


def test_otlp_takes_the_spans_too(collector):
    chosen = TracesSettings(exporter="otlp", endpoint=collector.otlp_endpoint)
    with tracing(chosen, PRODUCTION):
        make_spans(1)
        body = collector.wait_for_any()[0]
    assert b"order-book" in body


@pytest.mark.parametrize("exporter", ["zipkin", "otlp"])
def test_over_https_who_signs_is_known_by_the_variable_that_counts_for_other_connections(
    collector, exporter, tmp_path, monkeypatch, lines
):
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    secure(collector, tmp_path)
    endpoint = collector.endpoint if exporter == "zipkin" else collector.otlp_endpoint
    chosen = TracesSettings(exporter=exporter, endpoint=endpoint.replace("http:", "https:"))
    with tracing(chosen, PRODUCTION):
        make_spans(1)
        lines.wait_for(1)
        assert "certificate verify failed" in lines[0]
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        collector.wait_for(lambda spans: spans + collector.bodies)


def secure(collector: FakeZipkin, folder: Path) -> None:
    """Let the collector speak TLS."""
    authority = Authority()
    (folder / "ca.pem").write_bytes(authority.certificate)
    write(authority.issue("zipkin"), folder, "zipkin")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "zipkin.pem", folder / "zipkin.key")
    server = collector._server
    server.socket = context.wrap_socket(server.socket, server_side=True)


@pytest.mark.parametrize("exporter", ["zipkin", "otlp"])
def test_a_backend_gets_no_cookie_back(collector, exporter):
    endpoint = collector.endpoint if exporter == "zipkin" else collector.otlp_endpoint
    with tracing(TracesSettings(exporter=exporter, endpoint=endpoint), PRODUCTION):
        for count in (1, 2):
            make_spans(1)
            collector.wait_for(lambda spans, count=count: len(spans + collector.bodies) >= count)
    assert [head["cookie"] for head in collector.heads] == [None] * 2


@pytest.mark.parametrize(("user", "said"), [("", "Bearer own"), ("user:pw@", "Basic dXNlcjpwdw==")])
def test_a_backend_hears_who_sends_as_the_settings_say_it(
    collector, user, said, tmp_path, monkeypatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password pw\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer own")
    endpoint = collector.otlp_endpoint.replace("//", f"//{user}")
    with tracing(TracesSettings(exporter="otlp", endpoint=endpoint), PRODUCTION):
        make_spans(1)
        collector.wait_for_any()
    assert [head["authorization"] for head in collector.heads] == [said]


def test_a_backend_that_comes_back_gets_what_was_kept_for_it(collector, lines):
    collector.stop()
    with traced_by(collector):
        make_spans(3)
        lines.wait_for(1)
        collector.start()
        assert len(collector.wait_for_count(3)) == 3


@pytest.mark.parametrize("exporter", ["zipkin", "otlp"])
@pytest.mark.parametrize("trouble", ["refusing", "black hole", "failing"])
def test_a_bad_backend_is_one_line_without_a_traceback_and_no_hold_up(
    collector, lines, caplog, trouble, exporter
):
    {"refusing": collector.stop, "black hole": collector.hold, "failing": lambda: None}[trouble]()
    collector.status = 503
    chosen = TracesSettings(exporter=exporter, endpoint=collector.endpoint)
    with tracing(chosen, PRODUCTION) as traces:
        make_spans(1000)
        lines.wait_for(1)
        make_spans(1000)
        assert close(traces, 0.2) < TIMEOUT_S  # of one attempt, for which it does not wait
        lines.wait_for(2)
    backend = f"{exporter} at {collector.endpoint}"
    assert lines[0].startswith(f"traces: {backend}: ")
    assert lines[1:] == [f"traces: 2000 spans did not reach {backend}\n"]
    assert caplog.records == []


def test_spans_that_a_backend_does_not_like_are_dropped_and_counted(collector, lines):
    collector.status = 400
    with traced_by(collector) as traces:
        make_spans(5)
        lines.wait_for(1)
        assert "answered 400 Bad Request; 5 spans dropped, 0 waiting" in lines[0]
        collector.status = 202
        make_spans(1)
        collector.wait_for_count(1)
        close(traces, 1)


@pytest.mark.parametrize("exporter", ["zipkin", "otlp"])
def test_a_span_that_cannot_be_encoded_is_lost_alone(collector, lines, exporter):
    url = collector.endpoint if exporter == "zipkin" else collector.otlp_endpoint
    with tracing(TracesSettings(exporter=exporter, endpoint=url), PRODUCTION):
        with span("half a character: \ud800") as odd:
            odd.add_event("looked", {"code.seen": b"bytes"})
        lines.wait_for(1)
        make_spans(1)
        collector.wait_for_any()
    assert "1 spans dropped, 0 waiting" in lines[0]


class Choosy(BaseHTTPRequestHandler):
    """Answers as the server's `refusal` to what is larger than its `limit`, or redirects all."""

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        status, text = self.server.refusal
        is_refused = size > self.server.limit
        if not is_refused:
            self.server.taken.extend(span["name"] for span in json.loads(body))
        self.send_response(status if is_refused else 202)
        if status in {301, 302, 307}:
            self.send_header("Location", "/elsewhere")
        body = text.encode() if is_refused else b""
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.server.taken.append("redirected")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def choosy() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Choosy)
    server.limit, server.refusal, server.taken = 20_000, (413, ""), []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def exporting_to(server: HTTPServer, identity: Identity, exporter: str = "zipkin") -> Any:
    url = f"http://127.0.0.1:{server.server_port}/spans"
    return tracing(TracesSettings(exporter=exporter, endpoint=url), identity)


@pytest.mark.parametrize("identity", [PRODUCTION, DEVELOPMENT])
@pytest.mark.parametrize("refusal", [(413, ""), (400, "message exceeds the limit")])
def test_a_span_that_is_too_large_is_lost_alone(choosy, lines, monkeypatch, refusal, identity):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    choosy.refusal = refusal
    with exporting_to(choosy, identity) as traces:
        make_spans(20)
        with span("large", **{f"k{number}": "x" * 1000 for number in range(30)}):
            pass
        make_spans(22)
        close(traces, 20)
        lines.wait_for(1)
    assert choosy.taken == ["work"] * 42
    (line,) = lines
    assert f"answered {refusal[0]}" in line
    assert "; 1 spans dropped, " in line


@pytest.mark.parametrize("exporter", ["zipkin", "otlp"])
@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_not_followed_and_loses_nothing_silently(choosy, lines, status, exporter):
    choosy.limit, choosy.refusal = 0, (status, "")
    with exporting_to(choosy, PRODUCTION, exporter) as traces:
        make_spans(3)
        lines.wait_for(1)
        close(traces, 1)
    assert choosy.taken == []
    assert f"answered {status}" in lines[0]


def test_what_was_dropped_is_said_once_a_minute(collector, lines, monkeypatch):
    monkeypatch.setattr(bounded_queue, "REPORT_EVERY_S", 0.2)
    collector.status = 400
    with traced_by(collector):
        for expected in (1, 2):
            make_spans(5)
            lines.wait_for(expected)
    assert [line.split("; ")[1] for line in lines[:2]] == ["5 spans dropped, 0 waiting\n"] * 2


def test_development_without_a_backend_is_one_friendly_line(collector, lines):
    collector.stop()
    with traced_by(collector, DEVELOPMENT) as traces:
        make_spans(3000)
        lines.wait_for(1)
        make_spans(3000)
        close(traces, 0.2)
    assert len(lines) == 1
    assert f"at {collector.endpoint} (Connection refused)" in lines[0]
    assert "--set traces.exporter=console" in lines[0]


def test_memory_stays_bounded_without_a_backend(collector):
    collector.hold()
    with traced_by(collector):
        tracemalloc.start()
        make_spans(10_000)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert grown < 20 << 20


def test_nothing_is_left_running(collector):
    with traced_by(collector):
        make_spans(1)
        thread = next(t for t in threading.enumerate() if t.name == "traces")
    thread.join(5)
    assert not thread.is_alive()


def test_secrets_are_masked_on_the_way_out(collector):
    with traced_by(collector) as traces:
        with (
            pytest.raises(ValueError, match="token"),
            span("log in", password="swordfish", user="ann"),
        ):
            raise ValueError("token=opensesame was refused")
        close(traces, 2)
    (sent,) = collector.spans
    assert (sent["tags"]["password"], sent["tags"]["user"]) == ("[redacted]", "ann")
    assert "opensesame" not in str(sent)
    assert "swordfish" not in str(sent)


JWT, CARD = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig", "4111111111111111"


def test_what_a_caller_chooses_is_masked_on_the_way_out(collector):
    chosen, redact = TracesSettings(endpoint=collector.endpoint), RedactSettings(patterns=["c-1+"])
    told = {
        "url.path": f"/pay/{CARD}/of/c-11",
        "url.full": f"http://shop/{JWT}",
        "user_agent.original": f"{JWT} {'x' * 300}",
        "http.request.header.x_tea": [CARD],
        "http.route": "/pay/{card}",
    }
    with tracing(chosen, PRODUCTION, redact) as traces:
        with span("called", **told):
            pass
        close(traces, 2)
    (sent,) = collector.spans
    assert [secret for secret in (JWT, CARD, "c-11") if secret in str(sent)] == []
    assert sent["tags"]["url.path"] == "/pay/[redacted]/of/[redacted]"
    assert sent["tags"]["http.route"] == "/pay/{card}"


@traced
def first() -> None:
    """Do nothing."""


@traced
def second() -> None:
    with span("inmost"):
        raise ValueError("no tea")


def test_the_terminal_shows_a_tree(capsys):
    with tracing(TracesSettings(exporter="console"), DEVELOPMENT) as traces:
        with span("outer", sku="tea"), suppress(ValueError):
            first()
            second()
        close(traces, 2)
    shown = re.sub(r"[0-9a-f]{32}|[0-9.]+ ms", "#", capsys.readouterr().err)
    assert shown.splitlines() == [
        "trace #",
        "└─ outer  #  sku=tea",
        "   ├─ first  #",
        "   └─ second  #  ValueError: no tea",
        "      └─ inmost  #  ValueError: no tea",
    ]


def test_the_terminal_shows_a_span_on_one_line_whatever_it_says(capsys):
    with tracing(TracesSettings(exporter="console"), DEVELOPMENT) as traces:
        with suppress(ValueError), span("two\nlines", said="\x1b[31mred\r"):
            raise ValueError("no\n    tea")
        close(traces, 2)
    shown = re.sub(r"[0-9a-f]{32}|[0-9.]+ ms", "#", capsys.readouterr().err)
    assert shown.splitlines() == ["trace #", "└─ two lines  #  said= [31mred  ValueError: no tea"]
