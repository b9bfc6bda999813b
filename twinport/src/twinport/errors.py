"""Errors: the table of codes (gRPC, HTTP status, log level), and what a service raises for them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import ClassVar, NamedTuple

MEDIA_TYPE = "application/problem+json"  # RFC 9457
RETRY_AFTER_S = 1
MOST_VIOLATIONS = 50
LONGEST_DETAIL, LONGEST_NAME, LONGEST_DESCRIPTION = 1000, 800, 1000  # bytes, as JSON
LARGEST_CHARACTER = 6  # bytes, such as \u001f
ALL_VIOLATIONS = 3500  # bytes; clients of gRPC take 8 KiB of metadata, and a third of it is base64
FIRST_ERROR, FIRST_SERVER_ERROR = 400, 500  # as plain numbers: asked of each call


class Code(NamedTuple):
    """What a code of google/rpc/code.proto is elsewhere.

    `status` is HTTP's, as code.proto has it, and `also` what HTTP alone tells apart. `level` is
    the access log's, for the operator of this service; `client_level` is that of a line about
    another service that has answered so. `like` is what a client raises, where no class has the
    code for its own.
    """

    status: int
    level: str
    client_level: str
    also: tuple[int, ...] = ()
    like: str = ""


CODES: Mapping[str, Code] = {  # of two with one status, HTTP's means the first
    "OK": Code(200, "INFO", "DEBUG"),
    "CANCELLED": Code(499, "INFO", "DEBUG", like="UNAVAILABLE"),  # nginx' number
    "INVALID_ARGUMENT": Code(400, "INFO", "DEBUG"),
    "FAILED_PRECONDITION": Code(400, "INFO", "DEBUG"),
    "OUT_OF_RANGE": Code(400, "INFO", "DEBUG", like="INVALID_ARGUMENT"),
    "UNAUTHENTICATED": Code(401, "INFO", "WARNING"),
    "PERMISSION_DENIED": Code(403, "INFO", "WARNING"),
    "NOT_FOUND": Code(404, "INFO", "DEBUG"),
    "ALREADY_EXISTS": Code(409, "INFO", "DEBUG"),
    "ABORTED": Code(409, "INFO", "DEBUG", like="FAILED_PRECONDITION"),
    "RESOURCE_EXHAUSTED": Code(429, "WARNING", "WARNING", also=(413, 431)),
    "INTERNAL": Code(500, "ERROR", "WARNING"),
    "UNKNOWN": Code(500, "ERROR", "WARNING", like="INTERNAL"),
    "DATA_LOSS": Code(500, "ERROR", "WARNING", like="INTERNAL"),
    "UNIMPLEMENTED": Code(501, "INFO", "WARNING", also=(405, 505)),  # strangers ask for anything
    "UNAVAILABLE": Code(503, "WARNING", "WARNING"),
    "DEADLINE_EXCEEDED": Code(504, "WARNING", "WARNING", also=(408,)),
}


CODE_OF_STATUS: Mapping[int, str] = {
    status: code for code, row in reversed([*CODES.items()]) for status in (row.status, *row.also)
}
CLIENT_CLOSED_REQUEST = CODES["CANCELLED"].status  # no caller reads it, logs and metrics do


def row_of(code: str) -> Code:
    """Return the row of a code, of one that nobody knows that of UNKNOWN."""
    return CODES.get(code) or CODES["UNKNOWN"]


def code_of(status: int) -> str:
    """Return the code that comes nearest to an HTTP status."""
    if status < FIRST_ERROR:
        return "OK"
    is_server_side = status >= FIRST_SERVER_ERROR
    return CODE_OF_STATUS.get(status, "INTERNAL" if is_server_side else "FAILED_PRECONDITION")


def is_failure(code: str, status: int = 0) -> bool:
    """Tell whether an error is the service's own, not its caller's; `status` is 0 over gRPC.

    So do OpenTelemetry's conventions for spans of servers: over HTTP what is 500 or more, over gRPC
    the codes whose status in HTTP is. RESOURCE_EXHAUSTED is the caller's, but for a 503.
    """
    return (status or row_of(code).status) >= FIRST_SERVER_ERROR


def outcome_of(code: str, status: int = 0) -> str:
    """Return ECS' event.outcome, from the point of view of the service, as its span has it.

    A caller's mistake is a success; what comes of a call that its caller has left, nobody knows.
    """
    if code == "CANCELLED":
        return "unknown"
    return "failure" if is_failure(code, status) else "success"


class FieldViolation(NamedTuple):
    """One field of a request that is wrong; `field` is its dotted path, as the caller wrote it."""

    field: str
    description: str


class ServiceError(Exception):
    """A caller may read the text; `code` is one of CODES, `status` the one that it has there.

    Over gRPC it is a google.rpc.Status, over REST a problem (RFC 9457); `fields` are in both. What
    is too long is cut, and so are `fields`: an answer is never as large as its request may be.
    """

    code: ClassVar[str] = "UNKNOWN"
    status: ClassVar[int] = CODES["UNKNOWN"].status

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" in vars(cls) and "status" not in vars(cls):
            cls.status = CODES[cls.code].status

    def __init__(self, detail: str = "", *, fields: Sequence[FieldViolation] = ()) -> None:
        super().__init__(shortened(str(detail)))
        self.fields = tuple(_bounded(fields))


class InvalidArgumentError(ServiceError):
    """The request is wrong, whatever the state of the service."""

    code = "INVALID_ARGUMENT"


class NotFoundError(ServiceError):
    """The named thing does not exist."""

    code = "NOT_FOUND"


class AlreadyExistsError(ServiceError):
    """What was to be created is there already, with other content."""

    code = "ALREADY_EXISTS"


class FailedPreconditionError(ServiceError):
    """The request is right, but not in the state that the service is in."""

    code = "FAILED_PRECONDITION"


class UnauthenticatedError(ServiceError):
    """The caller did not say who it is, or nobody believes it.

    `challenge` is what HTTP says about it in WWW-Authenticate (RFC 9110, 11.6.1).
    """

    code = "UNAUTHENTICATED"

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

    code = "PERMISSION_DENIED"


class InsufficientScopeError(PermissionDeniedError):
    """The caller lacks scopes; `challenge` is for WWW-Authenticate, empty without tokens."""

    def __init__(self, missing: Iterable[str], challenge: str) -> None:
        super().__init__(f"not allowed: it needs {', '.join(sorted(missing))}")
        self.challenge = challenge


class ResourceExhaustedError(ServiceError):
    """The caller has used up what it may use, or sent more than a call may hold."""

    code = "RESOURCE_EXHAUSTED"


class OverloadedError(ResourceExhaustedError):
    """The service has its hands full; the same call may succeed in a moment."""

    status = 503


class UnimplementedError(ServiceError):
    """There is no such operation."""

    code = "UNIMPLEMENTED"


class UnavailableError(ServiceError):
    """Something that the service needs is away, or it stops; the same call may succeed later."""

    code = "UNAVAILABLE"


class DeadlineExceededError(ServiceError):
    """The answer was not there when the caller's time, or the service's own, was over."""

    code = "DEADLINE_EXCEEDED"


class InternalError(ServiceError):
    """What nobody foresaw; its text tells a caller nothing."""

    code = "INTERNAL"


_OWN = {kind.code: kind for kind in ServiceError.__subclasses__()}
ERRORS: Mapping[str, type[ServiceError]] = {  # what a client raises for each code
    code: _OWN[row.like or code] for code, row in CODES.items() if code != "OK"
}


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


def shortened(text: str, most: int = LONGEST_DETAIL) -> str:
    """Return the beginning of `text` that has at most `most` bytes as JSON."""
    if len(text) * LARGEST_CHARACTER <= most:
        return text
    kept = text[:most]
    while (size := _size(kept)) > most:
        kept = kept[: len(kept) * most // size]
    return kept


def _bounded(fields: Iterable[FieldViolation]) -> Iterator[FieldViolation]:
    left_bytes = ALL_VIOLATIONS
    for field, description in islice(fields, MOST_VIOLATIONS):
        name = shortened(field, LONGEST_NAME)
        rule = shortened(description, LONGEST_DESCRIPTION)
        left_bytes -= _size(name) + _size(rule)
        if left_bytes < 0:
            return
        yield FieldViolation(name, rule)


def _size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode(errors="replace"))
