"""A site with certificates of its own CA, and clients that come to it over TLS."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import httpx2

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from sample.settings import Settings
from twinport.auth import AuthSettings
from twinport.service.ports import Ports
from twinport.tls import HttpTlsSettings, TlsSettings
from twinport.tls.authority import Authority, Pair, write

TIMEOUT_S = 20


class Site:
    """A folder with ca.pem, server.pem and server.key, and settings that name them."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings, self.authority = folder, settings, Authority()
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self.authority.certificate)
        self.renew()

    def renew(self, **more: Any) -> Pair:
        pair = self.authority.issue("server", **more)
        write(pair, self.folder, "server")
        return pair

    def secured(self, http: Mapping[str, Any] | None = None, **both: Any) -> Settings:
        """Return settings with TLS on both ports; `http` is for that one alone."""
        files = {"certificate": self.folder / "server.pem", "key": self.folder / "server.key"}
        chosen = files | both
        tls = {"http": HttpTlsSettings(**chosen, **(http or {})), "grpc": TlsSettings(**chosen)}
        sections = {
            name: getattr(self.settings, name).model_copy(update={"tls": each})
            for name, each in tls.items()
        }
        return self.settings.model_copy(update=sections)

    def mutual(self, grants: Mapping[str, set[str]], **http: Any) -> Settings:
        """Return settings that know a caller by its certificate."""
        auth = AuthSettings.model_validate({"mode": "mtls", "grants": grants})
        return self.secured(http, client_ca=self.ca).model_copy(update={"auth": auth})

    def client(self, ports: Ports, pair: Pair | None = None) -> "Client":
        return Client(ports, self.folder, pair)


class Client:
    """Calls the orders with the certificate that it was given."""

    def __init__(self, ports: Ports, certs: Path, pair: Pair | None = None) -> None:
        self.ports, self.ca = ports, (certs / "ca.pem").read_bytes()
        self.pair = pair
        self.context = ssl.create_default_context(cadata=self.ca.decode())
        if pair is not None:
            write(pair, certs, "client")
            self.context.load_cert_chain(certs / "client.pem", certs / "client.key")

    async def by_http1(self) -> str:
        return await self._by_rest(http2=False)

    async def by_http2(self) -> str:
        return await self._by_rest(http2=True)

    async def by_grpc(self) -> str:
        async with self.channel() as channel:
            try:
                await OrderServiceStub(channel).ListOrders(pb.ListOrdersRequest())
            except grpc.aio.AioRpcError as error:
                return "no connection" if error.code().name == "UNAVAILABLE" else error.code().name
        return "OK"

    def channel(self) -> grpc.aio.Channel:
        key, chain = (self.pair.key, self.pair.certificate) if self.pair else (None, None)
        credentials = grpc.ssl_channel_credentials(self.ca, key, chain)
        return grpc.aio.secure_channel(f"127.0.0.1:{self.ports.grpc}", credentials)

    def http(self, *, http2: bool) -> httpx2.AsyncClient:
        url = f"https://127.0.0.1:{self.ports.http}"
        return httpx2.AsyncClient(verify=self.context, http2=http2, base_url=url, timeout=TIMEOUT_S)

    async def _by_rest(self, *, http2: bool) -> str:
        async with self.http(http2=http2) as http:
            try:
                answer = await http.get("/v1/orders")
            except (httpx2.TransportError, ssl.SSLError):
                return "no connection"
        assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        return "OK" if answer.is_success else str(answer.json()["code"])
