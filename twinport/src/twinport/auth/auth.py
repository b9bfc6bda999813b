"""Authentication and authorisation of a service, by `auth.mode`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import NamedTuple

from loguru import logger

from ..extras import part
from ..rest.api import Api
from . import rest_guard, rpc_guard
from .permissions import Authenticate, Guard, Needs, PermissionTable
from .rest_guard import add_security
from .settings import AuthSettings

MODULES = {"jwt": "tokens", "mtls": "certificates"}


class AuthMethod(NamedTuple):
    """Tells who calls, while `running`; readiness depends on `probe`, if there is one."""

    authenticate: Authenticate
    running: Callable[[], AbstractAsyncContextManager[None]]
    probe: Callable[[], Awaitable[None]] | None = None


def auth_method(settings: AuthSettings) -> AuthMethod | None:
    """Return what the settings ask for; None if nobody is asked. Raises StartupError."""
    if settings.mode == "none":
        return None
    module = part(f".{MODULES[settings.mode]}", f'auth.mode = "{settings.mode}"', __package__)
    chosen: AuthMethod = module.auth_method(settings)
    return chosen


class Auth:
    """Who may call what; with `mode = "none"` it checks what app.py says, and no call."""

    def __init__(self, settings: AuthSettings) -> None:
        self._settings, self._permissions = settings, PermissionTable()
        self._method = auth_method(settings)
        self.closed: Sequence[str] = ()  # operations of which app.py says nothing, once it is done
        has_tokens = settings.mode == "jwt"
        guard = Guard(self._method.authenticate, has_tokens) if self._method else None
        self.rest = rest_guard.RestGuard(guard, self._permissions, settings) if guard else None
        self.rpc = rpc_guard.RpcGuard(guard, self._permissions, settings) if guard else None

    @property
    def probe(self) -> Callable[[], Awaitable[None]] | None:
        """What readiness depends on."""
        return self._method.probe if self._method else None

    def allow(self, table: Mapping[str, Needs]) -> None:
        """Say what operations need; raises StartupError."""
        self._permissions.allow(table)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the keys, if there are any; raises StartupError."""
        async with self._method.running() if self._method else nullcontext():
            yield

    def protect(self, api: Api, methods: Mapping[str, object]) -> None:
        """Guard all routes of `api`, now that each is there; raises StartupError."""
        both = list(rest_guard.operations(api)), list(rpc_guard.operations(methods))
        self._permissions.check(*both)
        self.closed = self._permissions.undeclared(
            name for operations in both for name, _ in operations
        )
        if self.rest is None:
            return
        routes = self.rest.protect(api)
        api.add_security = partial(add_security, routes=routes, settings=self._settings)
        if self.closed:
            names = ", ".join(self.closed)
            logger.warning("closed, as app.py does not say what they need: {}", names)
