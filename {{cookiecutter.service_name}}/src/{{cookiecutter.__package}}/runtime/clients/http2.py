"""HTTP/2 for httpx: its pool, with connections of our own."""

import ssl
from contextlib import AsyncExitStack

import httpcore
import httpx

from .http2_connection import Http2Connection

EXPIRY_S = httpx.Limits().keepalive_expiry


class Http2Transport(httpx.AsyncHTTPTransport):
    """Speaks HTTP/2, over TLS only where the other side agrees; else HTTP/1.1."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._pool = _Pool(tls, keepalive_expiry=EXPIRY_S, http1=tls is not None, http2=True)


class _Pool(httpcore.AsyncConnectionPool):
    def create_connection(self, origin: httpcore.Origin) -> "_Connection":
        return _Connection(origin, self._ssl_context, self._keepalive_expiry, self._http1, True)


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
