"""What an HTTP status is called in google/rpc/code.proto; clients need it, too."""

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
FIRST_ERROR, FIRST_SERVER_ERROR = 400, 500  # as plain numbers: asked of each call
CLIENT_CLOSED_REQUEST = 499  # nginx' number; no caller is left to read it, logs and metrics are

CODES = {  # what a refusal of the framework itself is called
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ALREADY_EXISTS",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    431: "RESOURCE_EXHAUSTED",
    CLIENT_CLOSED_REQUEST: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def code_of(status: int) -> str:
    """Return the name from google/rpc/code.proto that comes nearest to an HTTP status."""
    if status < FIRST_ERROR:
        return "OK"
    server_side = status >= FIRST_SERVER_ERROR
    return CODES.get(status, "INTERNAL" if server_side else "FAILED_PRECONDITION")
