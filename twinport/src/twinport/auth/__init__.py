"""Who calls, and what that caller may do: said once, obeyed on both transports."""

from .permissions import PUBLIC, Needs, Principal, bearer, needs, principal
from .settings import AuthSettings

__all__ = ["PUBLIC", "AuthSettings", "Needs", "Principal", "bearer", "needs", "principal"]
