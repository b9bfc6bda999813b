"""Authentication and authorisation put together, for a service that has them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from functools import partial

from loguru import logger

from ..rest.api import Api
from . import rest, rpc
from .access import Access
from .guard import Guard
from .methods import method
from .needs import Needs
from .openapi import add_security
from .settings import AuthSettings


class Auth:
    """Who may call what; with `mode = "none"` it checks what app.py says, and no call."""

    def __init__(self, settings: AuthSettings) -> None:
        self._settings, self._access = settings, Access()
        self._method = method(settings)
        guard = Guard(self._method.authenticate) if self._method else None
        self.rest = rest.RestGuard(guard, self._access, settings) if guard else None
        self.rpc = rpc.RpcGuard(guard, self._access, settings) if guard else None

    @property
    def is_on(self) -> bool:
        """Whether anybody is asked who they are."""
        return self._method is not None

    @property
    def probe(self) -> Callable[[], Awaitable[None]] | None:
        """What readiness depends on."""
        return self._method.probe if self._method else None

    def allow(self, table: Mapping[str, Needs]) -> None:
        """Say what operations need; raises StartupError."""
        self._access.allow(table)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the keys, if there are any; raises StartupError."""
        async with self._method.running() if self._method else nullcontext():
            yield

    def protect(self, api: Api, methods: Mapping[str, object]) -> None:
        """Guard all routes of `api`, now that each is there; raises StartupError."""
        both = list(rest.operations(api)), list(rpc.operations(methods))
        self._access.check(*both)
        if self.rest is None:
            return
        routes = self.rest.protect(api)
        api.add_security = partial(add_security, routes=routes, settings=self._settings)
        if closed := self._access.unsaid(name for operations in both for name, _ in operations):
            logger.warning("closed, as app.py does not say what they need: {}", ", ".join(closed))
