"""The guard of gRPC: checks permissions before each method."""

import math
from collections.abc import Mapping

import grpc

from ..calls import Call
from ..errors import ServiceError
from ..rpc.server_call import Context
from .permissions import Credentials, Guard, Needs, PermissionTable, needs
from .settings import AuthSettings

CERTIFICATE = "x509_pem_cert"  # grpc/grpc_security_constants.h


class RpcGuard:
    """Asks `guard` about each call; who asks for an unknown method has to be known, too."""

    def __init__(self, guard: Guard, permissions: PermissionTable, settings: AuthSettings) -> None:
        self._guard, self._permissions = guard, permissions
        self._is_public = settings.descriptions == "public"

    async def admit(self, call: Call, context: Context) -> None:
        """Let a call in; raises UnauthenticatedError, PermissionDeniedError."""
        await self._guard.admit(call, self._needed(call.method), _credentials(context))

    async def admit_reader(self, context: Context) -> float:
        """Let in who wants to read the descriptions of all services, or abort.

        Return until when, in seconds since 1970.
        """
        if self._is_public:
            return math.inf
        try:
            return (await self._guard.authenticate(_credentials(context))).expires_at
        except ServiceError as error:
            await context.abort(grpc.StatusCode[error.code], str(error))
            raise

    def _needed(self, method: str) -> Needs | None:
        """Return what `package.Service/Method` needs; an unknown one has no name and no slash."""
        _, slash, name = method.rpartition("/")
        return self._permissions.of(name) if slash else needs()


def operations(methods: Mapping[str, object]) -> list[tuple[str, object]]:
    """Return the name of each method, and all of its name."""
    return [(method.rpartition("/")[2], method) for method in methods]


def _credentials(context: Context) -> Credentials:
    metadata = context.invocation_metadata() or ()
    authorization = [str(value) for name, value in metadata if name == "authorization"]
    certificates = [*context.auth_context().get(CERTIFICATE, ()), None]
    return Credentials(authorization, certificates[0])
