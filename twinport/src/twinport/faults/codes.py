"""What an HTTP status is called in google/rpc/code.proto; clients need it, too."""

from collections.abc import Mapping

from ..errors import CODES, FIRST_SERVER_ERROR

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
FIRST_ERROR = 400  # as a plain number: asked of each call
CLIENT_CLOSED_REQUEST = CODES["CANCELLED"].status  # no caller reads it, logs and metrics do

NAMES: Mapping[int, str] = {  # what HTTP's statuses are called
    status: code for code, row in reversed([*CODES.items()]) for status in (row.status, *row.also)
}


def code_of(status: int) -> str:
    """Return the name from google/rpc/code.proto that comes nearest to an HTTP status."""
    if status < FIRST_ERROR:
        return "OK"
    server_side = status >= FIRST_SERVER_ERROR
    return NAMES.get(status, "INTERNAL" if server_side else "FAILED_PRECONDITION")
