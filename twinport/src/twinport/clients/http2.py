"""HTTP/2 for httpx: its pool, with connections of our own, and the certificates of the day."""

import ssl
from contextlib import AsyncExitStack

import httpcore
import httpx

from ..tls import Followed
from .http2_connection import Http2Connection

CONNECTIONS, IDLE_CONNECTIONS, EXPIRY_S = 100, 20, 5.0  # as httpx has them

Files = Followed[ssl.SSLContext]


class HttpTransport(httpx.AsyncHTTPTransport):
    """Speaks HTTP/2 if wanted, over TLS only where the other side agrees; else HTTP/1.1."""

    def __init__(self, files: Files | None, *, http2: bool) -> None:
        self._pool = _Pool(files, http2=http2)


class _Pool(httpcore.AsyncConnectionPool):
    def __init__(self, files: Files | None, *, http2: bool) -> None:
        super().__init__(
            files.content if files is not None else None,
            max_connections=CONNECTIONS,
            max_keepalive_connections=IDLE_CONNECTIONS,
            keepalive_expiry=EXPIRY_S,
            http1=files is not None,
            http2=http2,
        )
        self._files = files

    def create_connection(self, origin: httpcore.Origin) -> "_Connection":
        if self._files is not None and self._files.renew():
            self._ssl_context = self._files.content
        return _Connection(
            origin, self._ssl_context, self._keepalive_expiry, self._http1, self._http2
        )


class _Connection(httpcore.AsyncHTTPConnection):
    """Connects once for all who wait for it; if that call is cancelled, they connect anew."""

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        async with self._request_lock:
            if self._connect_failed:
                raise httpcore.ConnectionNotAvailable
            if self._connection is None:
                self._connection = await self._opened(request)
        return await self._connection.handle_async_request(request)

    async def _opened(self, request: httpcore.Request) -> httpcore.AsyncConnectionInterface:
        async with AsyncExitStack() as undo:
            undo.callback(setattr, self, "_connect_failed", True)
            stream = await self._connect(request)
            undo.push_async_callback(stream.aclose)
            connection = await self._begun(stream)
            undo.pop_all()
        return connection

    async def _begun(
        self, stream: httpcore.AsyncNetworkStream
    ) -> httpcore.AsyncConnectionInterface:
        tls = stream.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            return httpcore.AsyncHTTP11Connection(self._origin, stream, self._keepalive_expiry)
        connection = Http2Connection(self._origin, stream, self._keepalive_expiry)
        await connection.begin()
        return connection
