"""No client goes by way of a proxy that the environment names: one rule for all of them."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import grpc
import pytest
from loguru import logger

from twinport.auth.keys import KeyUrl
from twinport.auth.settings import AuthSettings
from twinport.clients import ClientSettings, connect, connect_http
from twinport.clients.grpc_channel import open_blocking_channel
from twinport.clients.outgoing_call import Outgoing
from twinport.logs import LogsSettings, logging_to
from twinport.logs.chat import to_chat
from twinport.settings import Identity
from twinport.traces import TracesSettings, span, tracing

LINE = {"log.level": "error", "service.name": "a", "service.environment": "b", "message": "c"}
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
PATIENCE_S = 20


class Upstream(BaseHTTPRequestHandler):
    """Sets `asked` when a request comes that was not sent to a proxy."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/"):  # a proxy is sent the whole URL (RFC 9112, 3.2.2)
            self.server.asked.set()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def upstream(monkeypatch) -> Iterator[ThreadingHTTPServer]:
    for name in PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    server.asked = Event()
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def by_http_client(url: str) -> None:
    async def call() -> None:
        async with connect_http(ClientSettings(url=url)) as http:
            await http.get("/")

    asyncio.run(call())


def by_key_url(url: str) -> None:
    async def fetch() -> None:
        keys = KeyUrl(AuthSettings.model_construct(keys=url, algorithms=("ES256",)))
        async with keys.opened():
            await keys()

    with pytest.raises(ValueError, match=r"."):  # there are none in it
        asyncio.run(fetch())


def by_exporter(kind: str) -> Callable[[str], None]:
    def export(url: str) -> None:
        with tracing(TracesSettings(exporter=kind, endpoint=url), Identity(name="tea")) as traces:
            with span("work"):
                pass
            asyncio.run(traces.close(PATIENCE_S))

    return export


def by_sink(url: str) -> None:
    sinks = {"http": {"kind": "http", "url": url}}
    with logging_to(LogsSettings.model_validate({"sinks": sinks}), Identity(name="tea")) as logs:
        logger.info("tea")
        logs.flush(PATIENCE_S)


CLIENTS = {
    "HTTP client": by_http_client,
    "keys of auth": by_key_url,
    "zipkin": by_exporter("zipkin"),
    "otlp": by_exporter("otlp"),
    "sink over HTTP": by_sink,
    "chat": lambda url: to_chat(url)(LINE),
}


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_no_client_over_http_asks_a_proxy_of_the_environment(client, upstream):
    client(f"http://127.0.0.1:{upstream.server_port}")
    assert upstream.asked.is_set()


def ask_blocking(target: str) -> None:
    with open_blocking_channel(Outgoing("tea", ClientSettings(target=target), [])) as channel:
        grpc.channel_ready_future(channel).result(PATIENCE_S)


def ask(target: str) -> None:
    async def call() -> None:
        async with connect(ClientSettings(target=target)) as channel:
            await asyncio.wait_for(channel.channel_ready(), PATIENCE_S)

    asyncio.run(call())


@pytest.mark.usefixtures("upstream")
@pytest.mark.parametrize("client", [ask, ask_blocking])
def test_no_channel_asks_a_proxy_of_the_environment(client):
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client(f"127.0.0.1:{port}")
    server.stop(0)
