"""One connection: what it sends goes to its protocol, and how long it may take for that."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H2ProtocolAssumedError
from hypercorn.typing import AppWrapper, ConnectionState
from starlette.types import ASGIApp

from ...settings import HttpLimits
from ..connections import NEVER, Connections, Progress, age_s, connection_state
from .http1 import FencedH1, NoMoreRequestsError
from .http2 import FencedH2
from .sending import Line
from .stream import Tasks


@dataclass(frozen=True)
class Listener:
    """One port: its application, its bounds, and who is there."""

    app: ASGIApp
    config: Config
    limits: HttpLimits
    connections: Connections
    context: WorkerContext = field(default_factory=lambda: WorkerContext(None))


READ_BYTES = 64 * 1024


class Connection:
    """Reads from one client until it leaves, or has to."""

    def __init__(
        self, listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        limits, self._loop = listener.limits, asyncio.get_running_loop()
        now = self._loop.time()
        self._listener, self._reader, self._writer = listener, reader, writer
        self._line = Line(writer, Progress(limits.send_time.total_seconds()))
        self._header_s = limits.header_time.total_seconds()
        self._idle_s = limits.idle_time.total_seconds()
        self._due = now + self._header_s  # when it is closed, unless a request comes
        self._age_s = age_s(limits)
        self._old_at = now + self._age_s
        self._retired = self._old = self._discarding = False
        self.tasks = Tasks(listener.connections, self.abort)
        self._protocol: FencedH1 | FencedH2 = self._chosen()

    async def run(self) -> None:
        """Serve the client; whatever that ends with, its place is free then."""
        self._listener.connections.join(self)
        try:
            await self._serve()
        finally:
            self._line.abort()
            self._listener.connections.leave(self)

    def retire(self) -> None:
        """Take no more requests; close as soon as those under way are answered."""
        self._retired = True
        if not self._protocol.retire():
            self._close()

    def abort(self) -> None:
        """Drop the connection with all that is under way."""
        self._line.abort()

    def check(self, now: float) -> None:
        """Do what is due."""
        if self._line.stalled(now):
            self._line.abort()
        elif now >= self._due:
            self.retire()
        elif now >= self._old_at:
            self._grow_old(now)
        self._protocol.check(now)

    def _grow_old(self, now: float) -> None:
        """Ask the client to go between two requests; if it never is, after twice the age."""
        if isinstance(self._protocol, FencedH1):
            self._protocol.retire()  # at each look, as it may yet turn out to be HTTP/2
        elif self._old:
            self._old_at = NEVER
            self._protocol.announce()
        else:
            self._old, self._old_at = True, now + self._age_s
            self._note(idle=self._due < NEVER)

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
        if self._due < NEVER and isinstance(self._protocol, FencedH1):
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
            await self._line.write(data)
        except ConnectionError:
            await self._protocol.handle(Closed())

    def _note(self, *, idle: bool) -> None:
        self._due = self._loop.time() + self._idle_s if idle else NEVER
        if idle and (self._retired or self._old):
            self.retire()

    def _close(self) -> None:
        self._discarding, self._due, self._old_at = True, NEVER, NEVER
        self._line.close(self._protocol.patience_s)

    def _chosen(self) -> FencedH1 | FencedH2:
        """Return HTTP/2 if TLS has agreed on it; without TLS the first bytes tell."""
        tls = self._writer.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == "h2":
            return self._h2()
        return FencedH1(*self._parts())

    def _h2(self) -> FencedH2:
        return FencedH2(*self._parts(), line=self._line, limits=self._listener.limits)

    def _parts(self) -> tuple[Any, ...]:
        """Return what hypercorn makes a protocol of."""
        return (
            cast(AppWrapper, self._listener.app),
            self._listener.config,
            self._listener.context,
            self.tasks,
            ConnectionState(connection_state(self._writer)),
            self._writer.get_extra_info("ssl_object") is not None,
            _address(self._writer.get_extra_info("peername")),
            _address(self._writer.get_extra_info("sockname")),
            self._send,
        )


def _address(name: tuple[Any, ...] | None) -> tuple[str, int] | None:
    return (name[0], name[1]) if name else None
