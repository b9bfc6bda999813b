"""A service within the process of its tests: the real one, on free ports, in milliseconds."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar

import grpc
import httpx2
import orjson
from loguru import logger
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from ..calls import Call
from ..lifecycle import Stop
from ..logs import Logs
from ..logs.bounded_queue import Losses
from ..logs.capture import Bridge
from ..logs.settings import ConsoleSink
from ..logs.sinks import Sink
from ..service.ports import Ports
from ..service.service import Service
from ..service.settings import Settings
from ..settings import Identity
from ..traces import tracing
from .process import FREE

OwnSettings = TypeVar("OwnSettings", bound=Settings)
Build = Callable[[Service, OwnSettings], Awaitable[None]]

PATIENCE_S = 30.0  # what a test waits for comes at once, but for a machine that does much else
QUICK: Mapping[str, object] = {"lifecycle.grace": "2s", "lifecycle.flush": "1s"}


def free(model: type[OwnSettings], settings: Mapping[str, object] | None = None) -> OwnSettings:
    """Return `settings`, such as {"orders.page_size": 2}, with free ports of this machine only.

    No file and no variable is read, so whatever has no default is among them. A table is written
    as {"clients.stock": {"target": "localhost:50051"}}. Raises ValidationError.
    """
    program = model.__module__.partition(".")[0].replace("_", "-")
    identity = Identity(name=program, version="0.0.0", environment="test")
    tables: dict[str, Any] = {}
    for name, value in {
        "service": identity.model_dump(),
        **FREE,
        **QUICK,
        **(settings or {}),
    }.items():
        _put(tables, name.split("."), value)
    return model.model_validate(tables)


def _put(tables: dict[str, Any], path: Sequence[str], value: object) -> None:
    *sections, key = path
    for section in sections:
        tables = tables.setdefault(section, {})
    table = tables.get(key)
    if isinstance(value, Mapping) and isinstance(table, Mapping):
        value = {**table, **value}
    tables[key] = value


class LocalService:
    """A running service, clients of it, and what it has told so far.

    `rest` is an HTTP client for paths such as "/v1/orders", `rpc` a channel for stubs, as in
    `OrderServiceStub(service.rpc)`. `calls` are those that have ended, each with its `transport`,
    `method`, `route`, `code`, `status`, `error`, `request_id` and `trace_id`. `spans` are
    OpenTelemetry's, those of the service's own functions included. `closed` are the operations of
    which no `service.allow` says who may call them, also where `auth` is off: they are closed as
    soon as it is on.
    """

    ports: Ports
    rest: httpx2.AsyncClient
    rpc: grpc.aio.Channel
    closed: Sequence[str]

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.spans: list[ReadableSpan] = []
        self._log = _KeptLines(
            "test", ConsoleSink(), Losses("logs", "lines", "test", logger.warning)
        )
        self._has_ended = asyncio.Event()
        self._parts = AsyncExitStack()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The records of its log so far, as the Elastic Common Schema has them."""
        return [orjson.loads(line) for line in self._log.kept]

    async def ended_calls(self, count: int = 1) -> Sequence[Call]:
        """Wait until so many calls have ended, with their spans and lines; raises TimeoutError.

        A caller may have the answer a moment before.
        """
        async with asyncio.timeout(PATIENCE_S):
            while len(self.calls) < count:
                self._has_ended.clear()
                await self._has_ended.wait()
        return self.calls

    async def stop(self) -> None:
        """Stop it in order, as SIGTERM does; the clients can still read how streams have ended."""
        await self._parts.aclose()

    @asynccontextmanager
    async def _running(
        self, settings: OwnSettings, build: Build[OwnSettings]
    ) -> AsyncIterator[None]:
        identity, logs = settings.service, settings.logs
        with (
            _logging(self._log, settings) as log,
            tracing(settings.traces, identity, logs.redact) as spans,
        ):
            spans.add(_KeptSpans(self.spans))
            observers = (spans.observe, log.access, self._hear)
            service = Service(settings, spans, observers, Stop(), log)
            running = service.running(lambda service: build(service, settings))
            async with AsyncExitStack() as clients, self._parts:
                self.ports = await self._parts.enter_async_context(running)
                self.closed = service._auth.closed
                await self._open_clients(clients)
                yield
            await spans.close(settings.lifecycle.flush.total_seconds())

    async def _open_clients(self, clients: AsyncExitStack) -> None:
        http, grpc_port, _ = self.ports
        nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # is trusted: it meets no certificate
        rest = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{http}", verify=nobody, trust_env=False, timeout=PATIENCE_S
        )
        self.rest = await clients.enter_async_context(rest)
        self.rpc = grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}")
        clients.push_async_callback(self.rpc.close)

    def _hear(self, call: Call) -> None:
        self.calls.append(call)
        self._has_ended.set()


@asynccontextmanager
async def serving(settings: OwnSettings, build: Build[OwnSettings]) -> AsyncIterator[LocalService]:
    """Keep a service running as `main` does, without its signals; raises StartupError.

    Of several at a time, spans of functions and lines of loguru go to the one started last, or to
    all.
    """
    service = LocalService()
    async with service._running(settings, build):
        yield service


class _KeptLines(Sink):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.kept: list[bytes] = []

    def put(self, data: bytes) -> None:
        self.kept.append(data)

    def flush(self, seconds: float) -> bool:
        return True

    def close(self) -> None:
        """Keep what was taken: the test reads it afterwards."""


class _KeptSpans(SpanProcessor):
    def __init__(self, kept: list[ReadableSpan]) -> None:
        self._kept = kept

    def on_end(self, span: ReadableSpan) -> None:
        self._kept.append(span)


@contextmanager
def _logging(sink: Sink, settings: Settings) -> Iterator[Logs]:
    """Lead to `sink` what loguru and the standard library log, beside where it goes already."""
    log = Logs(settings.logs, settings.service)
    log.add(sink)
    bridge, root = Bridge(log.emit), logging.getLogger()
    handler = logger.add(
        log.take, level=0, format=lambda _: "", filter=log.passes, backtrace=False, diagnose=False
    )
    root.addHandler(bridge)
    try:
        yield log
    finally:
        root.removeHandler(bridge)
        logger.remove(handler)
        log.close()
