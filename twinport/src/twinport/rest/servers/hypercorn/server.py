"""hypercorn's server of one port, and each of its connections: protocol, keep-alive and age."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from math import inf
from time import time
from typing import Any

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H2ProtocolAssumedError
from hypercorn.typing import ConnectionState

from ...settings import HttpLimits
from ..asyncio_server import CLIENT_CERTIFICATE, AsyncioServer, Closable
from ..connections import BoundedWriter, age_s
from .http1 import HardenedH1, NoMoreRequestsError
from .http2 import HardenedH2

READ_BYTES = 64 * 1024

log = logging.getLogger("hypercorn.error")


class HypercornServer(AsyncioServer):
    """Accepts on a listening socket from `start` to `stop`."""

    protocols = ("h2", "http/1.1")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.config, self.context = _config(self.limits), WorkerContext(None)

    async def listen(self, **options: Any) -> Closable:
        """Listen with asyncio's start_server."""
        return await asyncio.start_server(self.accept, **options)

    async def stop(self, grace: float) -> None:
        """Take no more work, let calls finish for `grace` seconds, then cut them."""
        await self.context.terminated.set()
        await super().stop(grace)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client, unless there are too many."""
        if self.connections.full:
            writer.transport.abort()
            return
        connection = Connection(self, reader, writer)
        connection.spawn(connection.run)


class _Dated(Config):
    """hypercorn's settings; the date of an answer is written once a second."""

    _second = 0
    _headers: Sequence[tuple[bytes, bytes]] = ()

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """Return the headers that every answer has."""
        second = int(time())
        if second != self._second:
            self._second, self._headers = second, super().response_headers(protocol)
        return [*self._headers]


def _config(limits: HttpLimits) -> Config:
    config = _Dated()
    config.errorlog = log  # as an object: no handler is added
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.header_size
    return config


class Connection:
    """Reads from one client until it leaves, or has to: for its age, idle time or slow headers.

    To its protocol it also stands for hypercorn's task group, which can hang on an error in one of
    its tasks.
    """

    def __init__(
        self, server: HypercornServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        limits, self._loop = server.limits, asyncio.get_running_loop()
        now = self._loop.time()
        self._server, self._reader, self._writer = server, reader, BoundedWriter(writer, limits)
        self._header_s = limits.header_time.total_seconds()
        self._idle_s = limits.idle_time.total_seconds()
        self._due = now + self._header_s  # when it is closed, unless a request comes
        self._age_s = age_s(limits)
        self._old_at = now + self._age_s
        self._retired = self._old = self._discarding = False
        tls = writer.get_extra_info("ssl_object")
        self._parts = self._parts_of_a_protocol(writer, tls)
        # Without TLS the first bytes tell whether it is HTTP/2.
        is_h2 = tls is not None and tls.selected_alpn_protocol() == "h2"
        self._protocol: HardenedH1 | HardenedH2 = self._h2() if is_h2 else self._h1()

    def spawn(self, func: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Run what belongs to the connection, which ends if that fails."""
        self._server.connections.spawn(func(*args)).add_done_callback(self._check_end)

    async def run(self) -> None:
        """Serve the client; whatever that ends with, its place is free then."""
        self._server.connections.join(self)
        try:
            await self._serve()
        finally:
            self.abort()
            self._server.connections.leave(self)

    def retire(self) -> None:
        """Take no more requests; close as soon as those under way are answered."""
        self._retired = True
        if not self._protocol.retire():
            self._close()

    def abort(self) -> None:
        """Drop the connection with all that is under way."""
        self._writer.abort()

    def check(self, now: float) -> None:
        """Do what is due."""
        if self._writer.stalled(now):
            self.abort()
        elif now >= self._due:
            self.retire()
        elif now >= self._old_at:
            self._grow_old(now)
        self._protocol.check(now)

    def _grow_old(self, now: float) -> None:
        """Ask the client to go between two requests; if it never is, after twice the age."""
        if isinstance(self._protocol, HardenedH1):
            self._protocol.retire()  # at each look, as it may yet turn out to be HTTP/2
        elif self._old:
            self._old_at = inf
            self._protocol.announce()
        else:
            self._old, self._old_at = True, now + self._age_s
            self._note(idle=self._due < inf)

    async def _serve(self) -> None:
        try:
            await self._protocol.initiate()
            await self._read()
        finally:
            await self._protocol.handle(Closed())

    async def _read(self) -> None:
        with suppress(OSError):  # the client has gone, which is no news
            while data := await self._reader.read(READ_BYTES):
                await self._take(data)

    async def _take(self, data: bytes) -> None:
        if self._discarding:
            return
        if self._due < inf and isinstance(self._protocol, HardenedH1):
            self._due = min(self._due, self._loop.time() + self._header_s)
        due = self._due
        try:
            await self._protocol.handle(RawData(data))
        except NoMoreRequestsError:
            return
        except H2ProtocolAssumedError as preface:
            self._due = due  # it looked like a request, and is none yet
            self._protocol = self._h2()
            await self._protocol.initiate()
            await self._protocol.handle(RawData(preface.data))

    async def _send(self, event: Event) -> None:
        """Do what the protocol asks for."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            self._close()
        elif isinstance(event, Updated):
            self._note(idle=event.idle)

    async def _write(self, data: bytes) -> None:
        try:
            await self._writer.write(data)
        except ConnectionError:
            await self._protocol.handle(Closed())

    def _note(self, *, idle: bool) -> None:
        self._due = self._loop.time() + self._idle_s if idle else inf
        if idle and (self._retired or self._old):
            self.retire()

    def _close(self) -> None:
        self._discarding, self._due, self._old_at = True, inf, inf
        self._writer.close(self._protocol.patience_s)

    def _check_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("connection ended: %r", error)
            self.abort()

    def _h1(self) -> HardenedH1:
        return HardenedH1(*self._parts, connections=self._server.connections, writer=self._writer)

    def _h2(self) -> HardenedH2:
        return HardenedH2(*self._parts, connections=self._server.connections, writer=self._writer)

    def _parts_of_a_protocol(self, writer: asyncio.StreamWriter, tls: Any) -> tuple[Any, ...]:
        """Return what hypercorn makes a protocol of."""
        server = self._server
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        state = {CLIENT_CERTIFICATE: certificate} if certificate else {}
        return (
            server.app,
            server.config,
            server.context,
            self,
            ConnectionState(state),
            tls is not None,
            _address(writer.get_extra_info("peername")),
            _address(writer.get_extra_info("sockname")),
            self._send,
        )


def _address(name: tuple[Any, ...] | None) -> tuple[str, int] | None:
    return (name[0], name[1]) if name else None
