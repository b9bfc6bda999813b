"""Who calls, and what that caller may do: said once, obeyed on both transports."""

from .needs import PUBLIC, Needs, needs
from .principal import Principal, bearer, principal
from .settings import AuthSettings

__all__ = ["PUBLIC", "AuthSettings", "Needs", "Principal", "bearer", "needs", "principal"]
