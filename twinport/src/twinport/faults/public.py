"""The one decision about what a caller may see of an error."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError

from ..errors import FieldViolation, InternalError, InvalidArgumentError, ServiceError
from ..redact import usual


def public(error: BaseException) -> ServiceError:
    """Return what a caller may see of `error`; everything unforeseen is an InternalError."""
    error = _single(error)
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


def _single(error: BaseException) -> BaseException:
    """Return what a group holds that is none: the framework sends streams from a task group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _violations(errors: Sequence[Mapping[str, Any]]) -> list[FieldViolation]:
    return [FieldViolation(_path(error), error["msg"]) for error in errors]


def _path(error: Mapping[str, Any]) -> str:
    """Return the field as the caller wrote it: without FastAPI's word for where it stood."""
    where, *path = error["loc"]
    return where if error["type"] == "json_invalid" or not path else ".".join(map(str, path))
