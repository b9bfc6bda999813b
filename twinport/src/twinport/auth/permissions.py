"""Permissions: what an operation needs, who calls (the principal), and whether that one may."""

import re
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

from pydantic import SecretStr

from ..calls import Call, current
from ..errors import (
    InsufficientScopeError,
    PermissionDeniedError,
    StartupError,
    UnauthenticatedError,
)

SENDABLE = re.compile(r"[!#-\[\]-~]+")  # RFC 6749, 3.3: a word within quotes


class Needs(NamedTuple):
    """All of `scopes`; a `public` operation does not even ask who calls."""

    scopes: frozenset[str] = frozenset()
    public: bool = False


PUBLIC = Needs(public=True)  # for everybody: nobody is asked who they are


def needs(*scopes: str) -> Needs:
    """Return the need of every one of `scopes`; without any, of a caller who is known.

    For `Service.allow`: who lacks one gets PermissionDeniedError, who is not known
    UnauthenticatedError.
    """
    return Needs(frozenset(scopes))


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whom the service believes; `claims` are those of its token, if it has one.

    `expires_at` is until when, in seconds since 1970; infinity is for ever.
    """

    subject: str
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    token: SecretStr | None = field(default=None, repr=False, compare=False)
    expires_at: float = field(default=inf, repr=False, compare=False)

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


class PermissionTable:
    """Knows an operation by its name: `GetOrder` is also the route function `get_order`."""

    def __init__(self) -> None:
        self._needs: dict[str, Needs] = {}
        self._names: dict[str, str] = {}

    def allow(self, table: Mapping[str, Needs]) -> None:
        """Add operations; raises StartupError for one that is there already."""
        for name, needs in table.items():
            if _key(name) in self._needs:
                raise StartupError(f"app.py says twice what {name} needs")
            self._needs[_key(name)], self._names[_key(name)] = needs, name

    def of(self, name: str) -> Needs | None:
        """Return what an operation needs; None if nobody has said: it is closed."""
        return self._needs.get(_key(name))

    def check(self, *transports: Iterable[tuple[str, Hashable]]) -> None:
        """Refuse a name that no operation has, or two have; raises StartupError.

        Each transport gives its operations as (name, what it runs): with two of one name, saying
        what one of them needs would open the other one, too.
        """
        found = [_targets(operations) for operations in transports]
        for key, name in self._names.items():
            most = max(len(targets.get(key, ())) for targets in found)
            if most != 1:
                problem = "two operations have that name" if most else "there is no such operation"
                raise StartupError(f"app.py says what {name} needs, but {problem}")

    def undeclared(self, names: Iterable[str]) -> list[str]:
        """Return those of `names` that are closed, because nobody has said what they need."""
        return sorted({name for name in names if self.of(name) is None})


def _targets(operations: Iterable[tuple[str, Hashable]]) -> dict[str, set[Hashable]]:
    targets: dict[str, set[Hashable]] = {}
    for name, target in operations:
        targets.setdefault(_key(name), set()).add(target)
    return targets


def _key(name: str) -> str:
    return name.replace("_", "").lower()


class Credentials(NamedTuple):
    """What a call brings: its authorization headers, and the certificate (DER or PEM) it is under.

    The certificate is one that the listener has verified.
    """

    authorization: Sequence[str] = ()
    certificate: bytes | None = None


Authenticate = Callable[[Credentials], Awaitable[Principal]]


class Guard:
    """Lets a call in, or raises; `authenticate` raises UnauthenticatedError.

    With `asks_for_tokens` a refusal says which scopes a token needs, as RFC 6750, 3.1, has it.
    """

    def __init__(self, authenticate: Authenticate, asks_for_tokens: bool) -> None:
        self.authenticate = authenticate
        self._asks_for_tokens = asks_for_tokens

    async def admit(self, call: Call, needs: Needs | None, credentials: Credentials) -> None:
        """Note who calls; raises UnauthenticatedError, PermissionDeniedError.

        `needs` is None for an operation of which nobody has said who may call it.
        """
        if needs is not None and needs.public:
            return
        principal = await self._identified(call, credentials)
        call.principal, call.expires_at = principal, principal.expires_at
        if needs is None:
            call.reason = "closed: app.py does not say what it needs"
            raise PermissionDeniedError("not allowed")
        if not needs.scopes <= principal.scopes:
            missing = needs.scopes - principal.scopes
            error = InsufficientScopeError(missing, self._challenge(needs.scopes))
            call.reason = str(error)
            raise error

    def _challenge(self, scopes: frozenset[str]) -> str:
        if not self._asks_for_tokens:
            return ""
        sendable = " ".join(sorted(filter(SENDABLE.fullmatch, scopes)))
        return f'Bearer error="insufficient_scope", scope="{sendable}"'

    async def _identified(self, call: Call, credentials: Credentials) -> Principal:
        try:
            return await self.authenticate(credentials)
        except UnauthenticatedError as error:
            call.reason = ": ".join([str(error), *getattr(error, "__notes__", ())])
            raise
