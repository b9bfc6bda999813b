"""Accepting connections on a socket, with TLS if the settings say so."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from loguru import logger

from ..errors import StartupError
from ..tls import HttpTlsSettings, TlsFiles
from .settings import HttpLimits

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
