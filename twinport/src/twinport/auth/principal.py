"""The one who calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from ..calls.call import current


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whom the service believes; `claims` are those of its token, if it has one."""

    subject: str
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    token: SecretStr | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return self.subject


def principal() -> Principal | None:
    """Return who makes the current call; None if `auth.mode` is "none", or outside of a call."""
    call = current.get()
    who = call.principal if call else None
    return who if isinstance(who, Principal) else None


def bearer() -> SecretStr | None:
    """Return the token of the current call, to send it on to a service that may see it."""
    who = principal()
    return who.token if who else None
