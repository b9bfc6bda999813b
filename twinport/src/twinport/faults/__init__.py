"""What an error becomes on the wire: an HTTP problem (RFC 9457) or a google.rpc.Status."""

from .problem import (
    CLIENT_CLOSED_REQUEST,
    MEDIA_TYPE,
    Problem,
    answer,
    code_of,
    install,
    problem,
    problems,
    refusal,
)
from .public import public, without_secrets
from .status import details, number_of

__all__ = [
    "CLIENT_CLOSED_REQUEST",
    "MEDIA_TYPE",
    "Problem",
    "answer",
    "code_of",
    "details",
    "install",
    "number_of",
    "problem",
    "problems",
    "public",
    "refusal",
    "without_secrets",
]
