"""How long a call may take: the caller's wish, in gRPC's syntax, within the service's own bound."""

import re

from ..errors import FieldViolation, InvalidArgumentError

GRPC_TIMEOUT = "grpc-timeout"
TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")  # gRPC over HTTP/2, "Requests", rule Timeout
SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def time_for(asked: str | None, longest: float) -> float:
    """Return how long, in seconds, a call is of use; raises InvalidArgumentError.

    `asked` is the value of the header grpc-timeout, `longest` is in seconds.
    """
    return longest if asked is None else min(longest, _seconds(asked))


def _seconds(asked: str) -> float:
    match = TIMEOUT.fullmatch(asked)
    if match is None:
        wrong = FieldViolation(GRPC_TIMEOUT, "must be up to 8 digits and one of H M S m u n")
        raise InvalidArgumentError("the deadline cannot be read", fields=[wrong])
    return int(match[1]) * SECONDS[match[2]]
