"""Errors as application/problem+json (RFC 9457), also those of the framework itself."""

from collections.abc import Mapping
from http.client import responses
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from ..calls.call import current
from ..errors import OverloadedError, ServiceError, UnauthenticatedError, shortened
from ..redact import usual
from .codes import MEDIA_TYPE, RETRY_AFTER_S, code_of
from .public import public, without_secrets


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
    for kind in (ServiceError, RequestValidationError):
        api.add_exception_handler(kind, answer)
    api.add_exception_handler(HTTPException, _answer_refusal)


async def answer(_: Request, error: Exception) -> JSONResponse:
    """Return any error as a problem; a handler of exceptions."""
    return problem(public(error))


async def _answer_refusal(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return refusal(error)


def problem(error: ServiceError) -> JSONResponse:
    """Return the answer that says `error`, and note its code in the call that it belongs to."""
    headers = {"retry-after": str(RETRY_AFTER_S)} if isinstance(error, OverloadedError) else {}
    if isinstance(error, UnauthenticatedError):
        headers["www-authenticate"] = error.challenge
    detail, fields = without_secrets(error)
    wrong = [WrongField(**field._asdict()) for field in fields]
    return _response(error.status, error.code, detail, wrong, headers)


def refusal(error: HTTPException) -> JSONResponse:
    """Return the answer that says what the framework, or a fence around it, does not take."""
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
