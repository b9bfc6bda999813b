"""Keys that verify tokens, from a file or a JWKS URL (RFC 7517), reloaded in time."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from datetime import timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from loguru import logger

from ..errors import StartupError, UnavailableError
from .settings import AuthSettings

LARGEST_SET = 256 * 1024  # bytes
FETCH_TIMEOUT_S = 5.0
PEM = b"-----BEGIN "
END = b"-----END PUBLIC KEY-----"

COOLDOWN_S = 5.0  # between two loads, however many calls bring keys that nobody knows


class Key(NamedTuple):
    """A public key, and what it may verify; without `kid` it may have signed any token."""

    kid: str | None
    key: Any
    algorithms: Sequence[str]


class KeyFile:
    """Reads a JWKS or PEM file."""

    def __init__(self, settings: AuthSettings) -> None:
        self._path, self._algorithms = Path(settings.keys), settings.algorithms

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Look into it; raises StartupError if there are no keys."""
        try:
            await self()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise StartupError(f"auth.keys: {self._path}: {reason}") from error
        yield

    async def __call__(self) -> Sequence[Key]:
        """Return the keys; raises OSError, ValueError."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> Sequence[Key]:
        return parsed(self._path.read_bytes(), self._algorithms)


class KeyUrl:
    """Fetches a JWKS (RFC 7517); follows no redirects, as another host is another issuer."""

    def __init__(self, settings: AuthSettings) -> None:
        self._url, self._algorithms = settings.keys, settings.algorithms

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Be ready to fetch; whether the issuer is there, the first load tells."""
        none = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        trust = httpx2.create_ssl_context()  # what SSL_CERT_FILE says counts, proxies do not
        async with httpx2.AsyncClient(
            timeout=FETCH_TIMEOUT_S, cookies=none, verify=trust, trust_env=False
        ) as self._http:
            yield

    async def __call__(self) -> Sequence[Key]:
        """Return the keys; raises OSError, ValueError."""
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                return parsed(await self._fetched(), self._algorithms)
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            raise OSError(type(error).__name__) from error

    async def _fetched(self) -> bytes:
        content = bytearray()
        async with self._http.stream("GET", self._url) as answer:
            if answer.status_code != httpx2.codes.OK:
                raise OSError(f"status {answer.status_code}")
            async for part in answer.aiter_bytes():
                content += _within_bounds(part, len(content))
        return bytes(content)


def _within_bounds(part: bytes, so_far: int) -> bytes:
    if so_far + len(part) > LARGEST_SET:
        raise ValueError(f"more than {LARGEST_SET} bytes")
    return part


def parsed(content: bytes, algorithms: Sequence[str]) -> Sequence[Key]:
    """Return the public keys in a JWKS or in PEM; raises ValueError if there are none."""
    is_pem = content.lstrip().startswith(PEM)
    found = list(_pem(content, algorithms) if is_pem else _jwks(content, algorithms))
    if not found:
        raise ValueError("holds no public key for any of auth.algorithms")
    return found


def _pem(content: bytes, algorithms: Sequence[str]) -> Iterator[Key]:
    *blocks, _ = content.split(END)
    for block in blocks:
        yield Key(None, load_pem_public_key(block + END), algorithms)


def _jwks(content: bytes, algorithms: Sequence[str]) -> Iterator[Key]:
    try:
        described = json.loads(content)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("is neither a JWKS (RFC 7517) nor PEM") from None
    for each in _signing(described):
        allowed = [each["alg"]] if each.get("alg") else algorithms
        usable = [algorithm for algorithm in allowed if algorithm in algorithms]
        if usable:
            yield from _loaded(each, usable)


def _signing(described: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield what verifies signatures and holds no secret."""
    for each in described:
        public = isinstance(each, dict) and each.get("kty") in ("RSA", "EC", "OKP")
        if public and each.get("use", "sig") == "sig":
            yield each


def _loaded(described: dict[str, Any], algorithms: Sequence[str]) -> Iterator[Key]:
    try:
        key = jwt.PyJWK(described)
    except jwt.PyJWTError:
        return  # of a kind that we do not know: its tokens are refused, the others are not
    yield Key(key.key_id, key.key, algorithms)


Load = Callable[[], Awaitable[Sequence[Key]]]


class KeyRing:
    """Loads keys when they are old or one is missing: once for all who wait, and keeps the old."""

    def __init__(self, load: Load, refresh: timedelta, cooldown_s: float = COOLDOWN_S) -> None:
        self._load, self._refresh_s, self._cooldown_s = load, refresh.total_seconds(), cooldown_s
        self._keys: Sequence[Key] = ()
        self._is_away = False
        self._loading: asyncio.Task[None] | None = None
        self._fresh_until = self._again_at = float("-inf")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Begin to load; on the way out stop."""
        self._load_soon()
        try:
            yield
        finally:
            if self._loading is not None:
                self._loading.cancel()
                await asyncio.wait((self._loading,))

    async def probe(self) -> None:
        """Raise UnavailableError as long as there are no keys at all."""
        if not self._keys:
            await self._loaded()
        if not self._keys:
            raise UnavailableError("no keys to check tokens with")

    async def find(self, kid: str | None) -> Sequence[Key]:
        """Return the keys that may have signed a token; raises UnavailableError."""
        await self.probe()
        if asyncio.get_running_loop().time() >= self._fresh_until:
            self._load_soon()  # this call goes on with the old ones
        found = self._matching(kid)
        if not found:
            await self._loaded()
            found = self._matching(kid)
        return found

    def _matching(self, kid: str | None) -> Sequence[Key]:
        return [key for key in self._keys if kid is None or key.kid in {None, kid}]

    async def _loaded(self) -> None:
        loading = self._load_soon()
        if loading is not None:
            await asyncio.shield(loading)

    def _load_soon(self) -> asyncio.Task[None] | None:
        """Return the load under way; None if the last one was a moment ago."""
        loop = asyncio.get_running_loop()
        if self._loading is None and loop.time() >= self._again_at:
            self._loading = loop.create_task(self._reload(), context=Context())  # of no call
        return self._loading

    async def _reload(self) -> None:
        now = asyncio.get_running_loop().time
        try:
            self._keys = await self._load()
            self._fresh_until = now() + self._refresh_s
            self._note(None)
        except (OSError, ValueError) as error:
            self._note(error)
        finally:
            self._again_at = now() + self._cooldown_s
            self._loading = None

    def _note(self, error: Exception | None) -> None:
        """Say once that the keys cannot be loaded, and once that they can again."""
        if error is not None and not self._is_away:
            logger.warning("auth.keys cannot be loaded, those at hand stay: {}", error)
        elif error is None and self._is_away:
            logger.info("auth.keys can be loaded again")
        self._is_away = error is not None
