"""Connections to one port: accepted, over TLS if wished, counted, refused, closed at the stop."""

import asyncio
import logging
import math
import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from loguru import logger

from ...calls.call import Call, current, new_ids
from ...errors import StartupError
from ...tls import HttpTlsSettings, TlsFiles
from ..exchange import id_headers, peer_of
from ..settings import HttpLimits

NEVER = math.inf
MIN_BYTES_PER_S = 240  # as Kestrel's MinResponseDataRate: below it, nobody is reading


class Progress:
    """Watches a counter of sent bytes, at every look of a timer instead of at every write."""

    __slots__ = ("_limit_s", "_sent", "_since")

    def __init__(self, limit_s: float) -> None:
        self._limit_s, self._since, self._sent = limit_s, NEVER, 0

    def stalled(self, now: float, sent: int, *, waiting: bool) -> bool:
        """Return whether something waits and less than the least rate has left for `limit_s`.

        `sent` may also be what waits, counted downwards: that it grows again shows that it moved.
        The time begins with the first look at something that waits: that nobody looked for a
        while, as the machine was asleep, is no fault of the reader.
        """
        moved = sent - self._sent
        if not waiting:
            self._since = NEVER
        elif self._since == NEVER or moved < 0 or moved >= MIN_BYTES_PER_S * self._limit_s:
            self._since, self._sent = now, sent
        return now - self._since > self._limit_s


LONGEST_PAUSE_S = 1.0  # between two looks at everybody
LOOKS = 4  # within the shortest limit
CUT_S = 0.3  # for a cut handler to say goodbye, and again for its connection to go

CUT = "the service stops"  # why a handler is cancelled whose client may still be there
# Of a scope, until it is read, as they would hold each other: the task that answers, for which to
# ask again is dear before Python 3.12.
HANDLER = "handler"

log = logging.getLogger(__name__)


def age_s(limits: HttpLimits) -> float:
    """Return the age, in seconds, at which one connection is asked to end.

    It differs by a tenth, as gRPC's does, so that those who came together do not leave together.
    """
    return limits.connection_age.total_seconds() * random.uniform(0.9, 1.1)


class Connected(Protocol):
    """One connection."""

    def check(self, now: float) -> None:
        """Do what is due."""

    def retire(self) -> None:
        """Take no more requests; close as soon as those under way are answered."""

    def abort(self) -> None:
        """Drop the connection with all that is under way."""


class Connections:
    """Looks at every connection now and then, and ends them all within a given time."""

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self.ending = False
        self._open: set[Connected] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._handlers: set[asyncio.Task[Any]] = set()
        self._fewer = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether nobody else may connect."""
        return self.ending or len(self._open) >= self.limits.connections

    def join(self, connection: Connected) -> None:
        """Look after `connection` until it leaves."""
        self._open.add(connection)
        if self.ending:  # it came while the others were told
            connection.retire()

    def leave(self, connection: Connected) -> None:
        """Forget `connection`."""
        self._open.discard(connection)
        self._fewer.set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what belongs to a connection."""
        return self._run(work, self._tasks)

    def handle(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run the application for one request; it is cancelled when the grace is over."""
        return self._run(work, self._handlers)

    def adopt(self, handler: asyncio.Task[Any]) -> None:
        """Look after a handler that somebody else has started, until it is released."""
        self._handlers.add(handler)
        if self.ending:
            handler.add_done_callback(self._forget)

    def release(self, handler: asyncio.Task[Any]) -> None:
        """Forget a handler that is about to end: cheaper than to be told of its end."""
        self._handlers.discard(handler)

    async def watch(self) -> None:
        """Check everybody, again and again: cheaper than a timer for each request."""
        loop, pause = asyncio.get_running_loop(), _pause(self.limits)
        while True:
            await asyncio.sleep(pause)
            now = loop.time()
            for connection in tuple(self._open):
                connection.check(now)

    async def end(self, grace: float) -> None:
        """Let what is under way finish for `grace` seconds, then cut it; may be called again."""
        self.ending = True
        for handler in self._handlers:  # it may end without having begun
            handler.add_done_callback(self._forget)
        steps = ((self._retire, grace), (self._cancel, CUT_S), (self._abort, CUT_S))
        for step, patience in steps:
            step()
            if await self._all_gone_within(patience):
                return
        log.warning("%d handlers would not end", len(self._handlers))

    def _retire(self) -> None:
        for connection in tuple(self._open):
            connection.retire()

    def _cancel(self) -> None:
        for handler in tuple(self._handlers):
            handler.cancel(CUT)

    def _abort(self) -> None:
        for connection in tuple(self._open):
            connection.abort()

    def _run(
        self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[Any]]
    ) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        among.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._handlers.discard(task)
        self._fewer.set()

    async def _all_gone_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_gone(), seconds)
        return not self._left

    async def _all_gone(self) -> None:
        while self._left:
            self._fewer.clear()
            await self._fewer.wait()

    @property
    def _left(self) -> bool:
        return bool(self._open or self._tasks or self._handlers)


def _pause(limits: HttpLimits) -> float:
    shortest = min(limits.header_time, limits.send_time, limits.idle_time, limits.connection_age)
    return min(LONGEST_PAUSE_S, shortest.total_seconds() / LOOKS)


LOOK_AGAIN_S = 1.0
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2, what HTTP/2 allows (RFC 9113, 9.2.2)
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CLIENT_CERTIFICATE = "client_certificate"  # in ASGI's `state`: DER, verified by the handshake

Serve = Callable[..., Awaitable[asyncio.Server]]


class Tls:
    """TLS of one port; `context` is for the connections to come."""

    def __init__(self, section: str, settings: HttpTlsSettings, protocols: list[str]) -> None:
        """Read the files; raises StartupError."""
        self._section, self._settings, self._protocols = section, settings, protocols
        self._files = TlsFiles(section, settings)
        self.context = self._context()

    async def renew(self) -> None:
        """Return when the files have changed and make another context."""
        while True:
            await asyncio.sleep(LOOK_AGAIN_S)
            if await asyncio.to_thread(self._renewed):
                return

    def _renewed(self) -> bool:
        if not self._files.renew():
            return False
        try:
            self.context = self._context()
        except StartupError as error:  # changed again since the look
            logger.warning("{}; the old certificate stays", error)
            return False
        return True

    def _context(self) -> ssl.SSLContext:
        settings, context = self._settings, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = VERSIONS[settings.min_version]
        context.set_ciphers(CIPHERS)
        context.set_alpn_protocols(self._protocols)
        context.options |= ssl.OP_NO_RENEGOTIATION
        try:
            context.load_cert_chain(settings.certificate, settings.key, password=b"")
        except (OSError, ssl.SSLError) as error:
            raise StartupError(f"{self._section}.key: {settings.key}: {error.strerror}") from error
        if ca := self._files.content.client_ca:
            context.load_verify_locations(cadata=ca.decode("ascii", "replace"))
            required = settings.client_auth == "required"
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        return context


class Listening:
    """Accepts until `close`; with a new certificate it listens anew, and loses nobody."""

    def __init__(
        self,
        name: str,
        bound: socket.socket,
        limits: HttpLimits,
        tls: HttpTlsSettings | None,
        protocols: list[str],
    ) -> None:
        """Read the files of `tls`; raises StartupError."""
        self._bound = bound
        self._tls = Tls(f"{name}.tls", tls, protocols) if tls else None
        self._handshake_s = limits.header_time.total_seconds()
        self._server: asyncio.Server | None = None
        self._renewing: asyncio.Task[None] | None = None

    async def start(self, serve: Serve) -> None:
        """Accept by `serve`, which is asyncio's create_server or start_server with all but these.

        The socket is doubled for TLS: what listens anew begins before the old one ends.
        """
        if self._tls is None:
            self._server = await serve(sock=self._bound)
            return
        await self._listen(serve, self._tls)
        self._renewing = asyncio.create_task(self._renew(serve, self._tls))

    def close(self) -> None:
        """Accept nobody any more."""
        if self._renewing is not None:
            self._renewing.cancel()
            self._bound.close()
        if self._server is not None:
            self._server.close()

    async def _renew(self, serve: Serve, tls: Tls) -> None:
        while True:
            await tls.renew()
            await self._listen(serve, tls)

    async def _listen(self, serve: Serve, tls: Tls) -> None:
        old = self._server
        self._server = await serve(
            sock=self._bound.dup(),
            ssl=tls.context,
            ssl_handshake_timeout=self._handshake_s,
            ssl_shutdown_timeout=self._handshake_s,
        )
        if old is not None:
            old.close()


def connection_state(writer: asyncio.StreamWriter) -> dict[str, Any]:
    """Return what each request of a connection is told: the certificate of the client, if any."""
    tls = writer.get_extra_info("ssl_object")
    certificate = tls.getpeercert(binary_form=True) if tls is not None else None
    return {CLIENT_CERTIFICATE: certificate} if certificate else {}


ids = new_ids()


def refused(status: int, client: tuple[str, int] | None) -> list[tuple[bytes, bytes]]:
    """Log that `client` is answered `status`, and return the headers that say where to look."""
    refusal = Call("http", *next(ids))
    refusal.request_id = refusal.trace_id
    token = current.set(refusal)  # for the log
    peer = peer_of(client) or "nobody known"
    log.info("refused with %d before it was a call, from %s", status, peer)
    current.reset(token)
    return [*id_headers(refusal)]
