"""The keys of the issuer, kept fresh without any call waiting for it, if that can be."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from datetime import timedelta

from loguru import logger

from ..errors import UnavailableError
from .keys import Key

COOLDOWN_S = 5.0  # between two loads, however many calls bring keys that nobody knows
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
