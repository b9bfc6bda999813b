"""Error answers on the wire: application/problem+json (RFC 9457) and google.rpc.Status."""

from collections.abc import Mapping, Sequence
from http.client import responses
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from google.protobuf.message import Message
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from .calls import Call, current
from .errors import (
    MEDIA_TYPE,
    RETRY_AFTER_S,
    FieldViolation,
    InsufficientScopeError,
    InternalError,
    InvalidArgumentError,
    OverloadedError,
    ServiceError,
    UnauthenticatedError,
    code_of,
    shortened,
)
from .redact import usual


def public(error: BaseException) -> ServiceError:
    """Return what a caller may see of `error`; everything unforeseen is an InternalError."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]  # the framework sends streams from a task group
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, RequestValidationError):
        return InvalidArgumentError("the request is not valid", fields=_violations(error.errors()))
    return InternalError("internal error")


def without_secrets(error: ServiceError) -> tuple[str, list[FieldViolation]]:
    """Return text and fields of `error` for a caller; what they were made of may hold a secret."""
    masked = usual().text
    return masked(str(error)), [
        FieldViolation(field.field, masked(field.description)) for field in error.fields
    ]


def _violations(errors: Sequence[Mapping[str, Any]]) -> list[FieldViolation]:
    return [FieldViolation(_path(error), error["msg"]) for error in errors]


def _path(error: Mapping[str, Any]) -> str:
    """Return the field as the caller wrote it: without FastAPI's word for where it stood."""
    where, *path = error["loc"]
    return where if error["type"] == "json_invalid" or not path else ".".join(map(str, path))


class WrongField(BaseModel):
    """One field of the request that is wrong."""

    field: str
    description: str


class Problem(BaseModel):
    """An error answer (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str = Field(description="a name from google/rpc/code.proto")
    trace_id: str
    errors: list[WrongField] = []


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error answers (RFC 9457) of an operation as OpenAPI wants them.

    For a router's or a route's `responses=problems(400, 404)`.
    """
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {"description": responses[status], "content": {MEDIA_TYPE: schema}}
        for status in statuses
    }


def install(api: Starlette) -> None:
    """Make `api` answer each error that somebody meant as a problem."""
    for kind in (ServiceError, RequestValidationError, HTTPException):
        api.add_exception_handler(kind, answer)


async def answer(_: Request, error: Exception) -> JSONResponse:
    """Return any error as a problem; an exception handler."""
    return refusal(error) if isinstance(error, HTTPException) else problem(public(error))


def problem(error: ServiceError) -> JSONResponse:
    """Return the answer that says `error`, and note its code in the call that it belongs to."""
    headers = {"retry-after": str(RETRY_AFTER_S)} if isinstance(error, OverloadedError) else {}
    if isinstance(error, UnauthenticatedError | InsufficientScopeError) and error.challenge:
        headers["www-authenticate"] = error.challenge
    detail, fields = without_secrets(error)
    wrong = [WrongField(**field._asdict()) for field in fields]
    return _response(error.status, error.code, detail, wrong, headers)


def refusal(error: HTTPException) -> JSONResponse:
    """Return the answer that says what the framework, or a limit around it, does not take."""
    code = code_of(error.status_code)
    detail = shortened(usual().text(error.detail))
    return _response(error.status_code, code, detail, headers=error.headers)


def _response(
    status: int,
    code: str,
    detail: str,
    errors: list[WrongField] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    call = current.get()
    if call is not None:
        call.code = code
    body = Problem(
        title=responses.get(status, code),  # of a number that HTTP does not know, there is none
        status=status,
        detail=detail,
        code=code,
        trace_id=call.trace_id if call else "",
        errors=errors or [],
    )
    return JSONResponse(body.model_dump(), status, headers, MEDIA_TYPE)


BINARY_STATUS = "grpc-status-details-bin"


def number_of(code: str) -> int:
    """Return the number of a name from google/rpc/code.proto."""
    return int(code_pb2.Code.Value(code))


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
    status = Status(code=number_of(error.code), message=detail)
    for part in parts:
        status.details.add().Pack(part)
    serialised: bytes = status.SerializeToString()
    return serialised
