"""Authentication and authorisation put together, for a service that has them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from loguru import logger

from ..rest.api import Api
from . import rest, rpc
from .access import Access
from .certificates import Certificates
from .guard import Authenticate, Guard
from .key_ring import KeyRing
from .keys import KeyFile, KeyUrl
from .needs import Needs
from .openapi import add_security
from .settings import AuthSettings
from .tokens import Tokens


class Auth:
    """Who may call what; with `mode = "none"` it checks what app.py says, and no call."""

    def __init__(self, settings: AuthSettings) -> None:
        self._settings, self._access = settings, Access()
        self._source: KeyFile | KeyUrl = (KeyUrl if settings.keys_are_remote else KeyFile)(settings)
        self._keys = KeyRing(self._source, settings.refresh)
        self._guard = Guard(self._authenticate()) if self.is_on else None
        self.rpc = rpc.RpcGuard(self._guard, self._access, settings) if self._guard else None

    @property
    def is_on(self) -> bool:
        """Whether anybody is asked who they are."""
        return self._settings.mode != "none"

    @property
    def probe(self) -> Callable[[], Awaitable[None]] | None:
        """What readiness depends on."""
        return self._keys.probe if self._settings.mode == "jwt" else None

    def allow(self, table: Mapping[str, Needs]) -> None:
        """Say what operations need; raises StartupError."""
        self._access.allow(table)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the keys, if there are any; raises StartupError."""
        async with AsyncExitStack() as stack:
            if self._settings.mode == "jwt":
                await stack.enter_async_context(self._source.opened())
                await stack.enter_async_context(self._keys.running())
            yield

    def protect(self, api: Api, methods: Mapping[str, object]) -> None:
        """Guard all routes of `api`, now that each is there; raises StartupError."""
        both = list(rest.operations(api)), list(rpc.operations(methods))
        self._access.check(*both)
        if self._guard is None:
            return
        routes = rest.guarded_routes(api, self._settings, self._access)
        rest.protect(api, routes, self._guard)
        api.add_security = partial(add_security, routes=routes, settings=self._settings)
        if closed := self._access.unsaid(name for operations in both for name, _ in operations):
            logger.warning("closed, as app.py does not say what they need: {}", ", ".join(closed))

    def _authenticate(self) -> Authenticate:
        if self._settings.mode == "mtls":
            return Certificates(self._settings.grants)
        return Tokens(self._settings, self._keys)
