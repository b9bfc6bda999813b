"""An error of another service, raised again as the domain error that it was."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as Detail
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from ..errors import (
    ERRORS,
    DeadlineExceededError,
    FieldViolation,
    InternalError,
    OverloadedError,
    ResourceExhaustedError,
    ServiceError,
    UnavailableError,
)

NEUTRAL = {  # for what grpc says by itself, which names hosts and addresses
    UnavailableError: "{} is not available",
    DeadlineExceededError: "{} did not answer in time",
}


def from_rpc(error: grpc.aio.AioRpcError, client: str) -> ServiceError:
    """Return the domain error that a failed call to `client` stands for."""
    kind = ERRORS.get(error.code().name, InternalError)
    rich = _rich(error)
    if kind is InternalError or (rich is None and kind in NEUTRAL):
        return neutral(kind, client)
    details = rich.details if rich else ()
    if kind is ResourceExhaustedError and _unpacked(details, RetryInfo()):
        kind = OverloadedError
    return kind(error.details() or "", fields=_fields(details))


def read_problem(body: bytes) -> Mapping[str, Any]:
    """Return the members of a problem (RFC 9457, where all may be missing); none if it is none."""
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def code_in(problem: Mapping[str, Any], otherwise: str) -> str:
    """Return the code that a service like this one says; of other members of that name, none."""
    code = str(problem.get("code"))
    return code if code in ERRORS else otherwise


def from_problem(problem: Mapping[str, Any], code: str, client: str) -> ServiceError:
    """Return the domain error that an answer in application/problem+json stands for."""
    kind = ERRORS.get(code, InternalError)
    if kind is InternalError:
        return neutral(kind, client)
    if kind is ResourceExhaustedError and problem.get("status") == OverloadedError.status:
        kind = OverloadedError
    return kind(str(problem.get("detail") or ""), fields=_wrong_fields(problem.get("errors")))


def neutral(kind: type[ServiceError], client: str) -> ServiceError:
    """Return an error whose text tells nothing of what is behind `client`."""
    return kind(NEUTRAL.get(kind, "internal error").format(client))


def _wrong_fields(errors: object) -> list[FieldViolation]:
    told = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    return [FieldViolation(str(e.get("field", "")), str(e.get("description", ""))) for e in told]


def _rich(error: grpc.aio.AioRpcError) -> Status | None:
    told: Any = error  # it has all that is asked of a call, though not its type
    try:
        return rpc_status.from_call(told)
    except ValueError:  # the details contradict the status
        return None


def _fields(details: Sequence[Detail]) -> list[FieldViolation]:
    wrong = BadRequest()
    _unpacked(details, wrong)
    return [FieldViolation(each.field, each.description) for each in wrong.field_violations]


def _unpacked(details: Sequence[Detail], message: BadRequest | RetryInfo) -> bool:
    """Tell whether a detail of the type of `message` is there, and fill it with that."""
    return any(detail.Unpack(message) for detail in details)
