"""The FastAPI application that features add their routes to, and its OpenAPI document."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.client import METHOD_NOT_ALLOWED, UNSUPPORTED_MEDIA_TYPE
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi._compat import ModelField
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ..errors import StartupError
from ..faults import Problem, install, problems
from ..settings import Identity
from ..validation import Step, first_mistakes, validator
from .edge import Middleware
from .middleware import ExceptionHandling, answer_other_method, head_as_get

OFF: TelemetryConfig = {
    "tracing": False,
    "operation_spans": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
NO_JSON = HTTPException(UNSUPPORTED_MEDIA_TYPE, "the content-type has to be application/json")
FRAMEWORK_ERROR = "422"  # what FastAPI documents for a request that we answer with 400
UNFORESEEN = (Exception, HTTPStatus.INTERNAL_SERVER_ERROR)
FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")


class Api(FastAPI):
    """An application that answers every error as a problem and documents it so.

    `guard` is the middleware next to the routes, within all others. `add_security` completes the
    document if callers have to say who they are.
    """

    guard: Middleware | None = None
    add_security: Callable[[dict[str, Any]], None] | None = None
    operations: Sequence[BaseRoute] = ()
    pages: Sequence[BaseRoute] = ()

    def setup(self) -> None:
        """Leave out the pages about the routes: they come last, as routes are tried in order."""

    def add_pages(self) -> None:
        """Add the pages about the routes, when all of these are there."""
        self.operations = tuple(self.routes)
        super().setup()
        self.pages = tuple(self.routes[len(self.operations) :])

    def include_router(self, router: APIRouter, **options: Any) -> None:
        """Add the routes of `router`, as they are if there is nothing to add to them.

        FastAPI would look for a route in each router on its own, and twice in the right one.
        """
        if options or not all(isinstance(each, APIRoute) and each.path for each in router.routes):
            super().include_router(router, **options)
        else:
            self.router.routes.extend(router.routes)

    def add_exception_handler(
        self, exc_class_or_status_code: int | type[Exception], handler: Any
    ) -> None:
        """Answer this error in a way of its own; raises StartupError for any error at all."""
        if exc_class_or_status_code in UNFORESEEN:
            raise StartupError(
                "rest: no handler can be for Exception or 500: what nobody foresaw is answered"
                " alike on both transports; name your own class, or raise one of twinport.errors"
            )
        super().add_exception_handler(exc_class_or_status_code, handler)

    def build_middleware_stack(self) -> ASGIApp:
        """Return the layers around the routes, but for those whose work the edge does."""
        routes: ASGIApp = self.router if self.guard is None else self.guard(self.router)
        app: ASGIApp = ExceptionHandling(routes, self.exception_handlers)
        for middleware, args, options in reversed(self.user_middleware):
            app = middleware(app, *args, **options)
        return app

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of all routes."""
        if not self.openapi_schema:
            document = super().openapi()
            self.openapi_schema = _with_problems(document)
            if self.add_security is not None:
                self.add_security(self.openapi_schema)
        return self.openapi_schema


def create_api(identity: Identity, guard: Middleware | None) -> Api:
    """Return an application without routes; FastAPI's own telemetry is off, the edge has it."""
    options: Any = {"telemetry": OFF, "redirect_slashes": False}  # to a host of the caller's choice
    api = Api(title=identity.name, version=identity.version, **options)
    api.guard = guard
    field: Any = ModelField
    field.validate = _validated
    install(api)
    api.add_exception_handler(METHOD_NOT_ALLOWED, answer_other_method)
    api.add_middleware(head_as_get)
    return api


def _validated(
    field: ModelField, value: Any, _: object = None, *, loc: tuple[Step, ...] = ()
) -> tuple[Any, list[dict[str, Any]]]:
    """Validate as FastAPI's method does, which makes objects of all mistakes, however many."""
    try:
        right = validator(field._type_adapter).validate_python(value, from_attributes=True)
    except ValidationError as error:
        if loc == ("body",) and isinstance(value, bytes):  # FastAPI reads as JSON what says so
            raise NO_JSON from None
        return None, [{**each, "loc": (*loc, *each["loc"])} for each in first_mistakes(error)]
    return right, []


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in FRAMEWORK_SCHEMAS:
        schemas.pop(name, None)
    definition = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= definition.pop("$defs", {}) | {"Problem": definition}
    for operations in document.get("paths", {}).values():
        for operation in operations.values():
            _document_errors(operation["responses"])
            _keep_to_3_1(operation["responses"])
    return document


def _document_errors(responses: dict[str, Any]) -> None:
    if responses.pop(FRAMEWORK_ERROR, None):
        responses["400"] = problems(400)[400]
    responses["default"] = {**problems(500)[500], "description": "Any other error"}


def _keep_to_3_1(responses: dict[str, Any]) -> None:
    """Remove the word of OpenAPI 3.2 with which FastAPI describes the items of a stream."""
    for answer in responses.values():
        for content in answer.get("content", {}).values():
            items = content.pop("itemSchema", {})
            content.setdefault("schema", items)
