"""How callers are known, by `auth.mode`; only what that needs is imported."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from ..extras import part
from .guard import Authenticate
from .settings import AuthSettings

MODULES = {"jwt": "tokens", "mtls": "certificates"}


class Method(NamedTuple):
    """Tells who calls, while `running`; readiness depends on `probe`, if there is one."""

    authenticate: Authenticate
    running: Callable[[], AbstractAsyncContextManager[None]]
    probe: Callable[[], Awaitable[None]] | None = None


def method(settings: AuthSettings) -> Method | None:
    """Return what the settings ask for; None if nobody is asked. Raises StartupError."""
    if settings.mode == "none":
        return None
    module = part(f".{MODULES[settings.mode]}", f'auth.mode = "{settings.mode}"', __package__)
    chosen: Method = module.method(settings)
    return chosen
