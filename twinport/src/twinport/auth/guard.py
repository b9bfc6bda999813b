"""The one decision about every call: who makes it, and whether that one may."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from ..calls.call import Call
from ..errors import PermissionDeniedError
from .needs import Needs
from .principal import Principal


class Credentials(NamedTuple):
    """What a call brings: its authorization headers, and the certificate (DER or PEM) it is under.

    The certificate is one that the listener has verified.
    """

    authorization: Sequence[str] = ()
    certificate: bytes | None = None


Authenticate = Callable[[Credentials], Awaitable[Principal]]


class Guard:
    """Lets a call in, or raises; `authenticate` raises UnauthenticatedError."""

    def __init__(self, authenticate: Authenticate) -> None:
        self.authenticate = authenticate

    async def admit(self, call: Call, needs: Needs | None, credentials: Credentials) -> None:
        """Note who calls; raises UnauthenticatedError, PermissionDeniedError.

        `needs` is None for an operation of which nobody has said who may call it.
        """
        if needs is not None and needs.public:
            return
        principal = await self.authenticate(credentials)
        call.principal = principal
        if needs is None or not needs.scopes <= principal.scopes:
            raise PermissionDeniedError("not allowed")
