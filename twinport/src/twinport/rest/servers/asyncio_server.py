"""Accepts the connections of one HTTP port by asyncio, with TLS that is reloaded.

What the servers share, whose own is how they speak HTTP.
"""

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from loguru import logger
from starlette.types import ASGIApp

from ...errors import StartupError
from ...lifecycle.servers import BACKLOG
from ...tls import HttpTlsSettings, TlsFiles
from ..settings import HttpLimits
from .connections import Connections

CERTIFICATE_CHECK_S = 1.0  # between two looks at the files
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2, what HTTP/2 allows (RFC 9113, 9.2.2)
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
CLIENT_CERTIFICATE = "client_certificate"  # in ASGI's `state`: DER, verified by the handshake


class Closable(Protocol):
    """What accepts connections."""

    def close(self) -> None:
        """Accept no more."""


@dataclass(eq=False)
class HttpServer:
    """An HTTP server on a socket that listens already; without `tls` it speaks plain text."""

    name: str
    app: ASGIApp
    bound: socket.socket
    limits: HttpLimits
    tls: HttpTlsSettings | None = None

    def __post_init__(self) -> None:
        self.connections = Connections(self.limits)


class AsyncioServer(HttpServer, ABC):
    """Accepts connections by asyncio; with a new certificate it listens anew, and loses nobody."""

    protocols: ClassVar[Sequence[str]]  # in the order that the port prefers
    _server: Closable | None = None
    _reloading: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        """Read the files of `tls`; raises StartupError."""
        super().__post_init__()
        self._tls = Tls(f"{self.name}.tls", self.tls, self.protocols) if self.tls else None

    @abstractmethod
    async def listen(self, **options: Any) -> Closable:
        """Listen; `options` are those that asyncio's create_server and start_server share."""

    async def start(self) -> None:
        """Accept connections."""
        if self._tls is None:
            self._server = await self.listen(sock=self.bound, backlog=BACKLOG)
        else:
            await self._listen_with(self._tls)
            self._reloading = asyncio.create_task(self._reload(self._tls))
        self._watch = asyncio.create_task(self.connections.watch())

    async def stop(self, grace: float) -> None:
        """Take no more work, let calls finish for `grace` seconds, then cut them."""
        if self._reloading is not None:
            self._reloading.cancel()
            self.bound.close()
        if self._server is not None:
            self._server.close()
        await self.connections.end(grace)
        self._watch.cancel()

    async def wait(self) -> None:
        """Return when serving has ended; raises what ended it."""
        await asyncio.wait([self._watch])
        if not self._watch.cancelled():
            self._watch.result()

    async def _reload(self, tls: "Tls") -> None:
        while True:
            await tls.changed()
            await self._listen_with(tls)

    async def _listen_with(self, tls: "Tls") -> None:
        """Listen on a double of the socket: it begins before the one with the old files ends."""
        old, handshake_s = self._server, self.limits.header_time.total_seconds()
        self._server = await self.listen(
            sock=self.bound.dup(),
            backlog=BACKLOG,
            ssl=tls.context,
            ssl_handshake_timeout=handshake_s,
            ssl_shutdown_timeout=handshake_s,
        )
        if old is not None:
            old.close()


class Tls:
    """TLS of one port, reloaded when its files change; `context` is for the connections to come."""

    def __init__(self, section: str, settings: HttpTlsSettings, protocols: Sequence[str]) -> None:
        """Read the files; raises StartupError."""
        self._section, self._settings, self._protocols = section, settings, protocols
        self._files = TlsFiles(section, settings)
        self.context = self._context()

    async def changed(self) -> None:
        """Return when the files have changed and there is another context."""
        while True:
            await asyncio.sleep(CERTIFICATE_CHECK_S)
            if await asyncio.to_thread(self._has_changed):
                return

    def _has_changed(self) -> bool:
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
        context.set_alpn_protocols(list(self._protocols))
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
