"""The one error table: every error that leaves the service, with its status in both worlds."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class FieldViolation(NamedTuple):
    """One field of a request that is wrong; `field` is its dotted path, as the caller wrote it."""

    field: str
    description: str


class ServiceError(Exception):
    """A caller may read the text; `code` is from google/rpc/code.proto, `status` is HTTP's.

    Over gRPC it is a google.rpc.Status, over REST a problem (RFC 9457); `fields` are in both.
    """

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = 500

    def __init__(self, detail: str = "", *, fields: Sequence[FieldViolation] = ()) -> None:
        super().__init__(detail)
        self.fields = tuple(fields)


class InvalidArgumentError(ServiceError):
    """The request is wrong, whatever the state of the service."""

    code, status = "INVALID_ARGUMENT", 400


class NotFoundError(ServiceError):
    """The named thing does not exist."""

    code, status = "NOT_FOUND", 404


class AlreadyExistsError(ServiceError):
    """What was to be created is there already, with other content."""

    code, status = "ALREADY_EXISTS", 409


class FailedPreconditionError(ServiceError):
    """The request is right, but not in the state that the service is in."""

    code, status = "FAILED_PRECONDITION", 400


class UnauthenticatedError(ServiceError):
    """The caller did not say who it is, or nobody believes it.

    `challenge` is what HTTP says about it in WWW-Authenticate (RFC 9110, 11.6.1).
    """

    code, status = "UNAUTHENTICATED", 401

    def __init__(
        self,
        detail: str = "",
        *,
        fields: Sequence[FieldViolation] = (),
        challenge: str = "Bearer",
    ) -> None:
        super().__init__(detail, fields=fields)
        self.challenge = challenge


class PermissionDeniedError(ServiceError):
    """The caller is known and may not do this."""

    code, status = "PERMISSION_DENIED", 403


class ResourceExhaustedError(ServiceError):
    """The caller has used up what it may use, or sent more than a call may hold."""

    code, status = "RESOURCE_EXHAUSTED", 429


class OverloadedError(ResourceExhaustedError):
    """The service has its hands full; the same call may succeed in a moment."""

    status = 503


class UnimplementedError(ServiceError):
    """There is no such operation."""

    code, status = "UNIMPLEMENTED", 501


class UnavailableError(ServiceError):
    """Something that the service needs is away; the same call may succeed in a moment."""

    code, status = "UNAVAILABLE", 503


class DeadlineExceededError(ServiceError):
    """The answer was not there when the caller's time, or the service's own, was over."""

    code, status = "DEADLINE_EXCEEDED", 504


class InternalError(ServiceError):
    """What nobody foresaw; its text tells a caller nothing."""

    code, status = "INTERNAL", 500


class FatalError(Exception):
    """The service cannot go on; the text is one line for the operator, exit status 1."""


class StartupError(FatalError):
    """The service cannot start: one line for the operator, exit status 1."""


class DiedError(FatalError):
    """Something without which the service is not whole has ended by itself."""


class SettingsError(Exception):
    """The settings are wrong; `mistakes` holds a line for each, exit status 2."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)
