"""An issuer of tokens: its keys, what it signs with them, and where it shows them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm

ISSUER, AUDIENCE = "https://issuer.test", "order-book"


class Issuer:
    """Signs with one key at a time; `rotate` takes the next one."""

    def __init__(self) -> None:
        self.rotate()

    def rotate(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.kid = f"key-{id(self.key)}"

    @property
    def pem(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def jwks(self) -> dict[str, Any]:
        jwk = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [jwk | {"kid": self.kid, "use": "sig", "alg": "ES256"}]}

    def show_in(self, folder: Path) -> Path:
        path = folder / "keys.json"
        path.write_text(json.dumps(self.jwks), encoding="utf-8")
        return path

    def token(self, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        headers = {"kid": self.kid} if headers is None else headers
        return jwt.encode(good_claims(**claims), self.key, "ES256", headers)


def good_claims(**changed: Any) -> dict[str, Any]:
    """Return claims that are believed, `changed`; None leaves one out."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "exp": time.time() + 60,
        "scope": "orders:read orders:write",
    }
    return {name: value for name, value in (claims | changed).items() if value is not None}


class KeyServer:
    """Shows the keys of an issuer by HTTP, with a cookie; closed, it is away."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer, self.port = issuer, 0
        self.heads: list[bytes] = []  # of the requests
        self.go_on = asyncio.Event()
        self.go_on.set()

    @property
    def fetches(self) -> int:
        return len(self.heads)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/jwks.json"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        await self.go_on.wait()
        body = json.dumps(self.issuer.jwks).encode()
        fields = ("connection: close", f"content-length: {len(body)}", "set-cookie: a=b; Path=/")
        head = "\r\n".join(("HTTP/1.1 200 OK", *fields, "", ""))
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()
