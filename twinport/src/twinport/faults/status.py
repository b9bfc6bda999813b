"""Errors as google.rpc.Status, with the details that a client library can read."""

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from ..calls.call import Call
from ..errors import OverloadedError, ServiceError
from .codes import RETRY_AFTER_S
from .public import without_secrets

BINARY_STATUS = "grpc-status-details-bin"


def number_of(code: str) -> int:
    """Return the number of a name from google/rpc/code.proto."""
    number: int = code_pb2.Code.Value(code)
    return number


def details(error: ServiceError, call: Call, domain: str) -> bytes:
    """Return a serialised google.rpc.Status; `domain` is who says it, the service's name."""
    parts: list[Message] = [
        ErrorInfo(reason=error.code, domain=domain),
        RequestInfo(request_id=call.request_id, serving_data=call.trace_id),
    ]
    detail, fields = without_secrets(error)
    if fields:
        violations = [BadRequest.FieldViolation(**field._asdict()) for field in fields]
        parts.append(BadRequest(field_violations=violations))
    if isinstance(error, OverloadedError):
        retry = RetryInfo()
        retry.retry_delay.FromSeconds(RETRY_AFTER_S)
        parts.append(retry)
    packed = [_packed(part) for part in parts]
    status = Status(code=number_of(error.code), message=detail, details=packed)
    serialised: bytes = status.SerializeToString()
    return serialised


def _packed(part: Message) -> Any:
    packed = Any()
    packed.Pack(part)
    return packed
