"""The fast path: plain routes are read and written by pydantic directly, not through FastAPI.

A route is plain if it is a coroutine function, takes parameters of the path and of the query and
one JSON body, and says the type of what it returns. All others take FastAPI's way, and so does a
request that is not right at once: what is wrong with it, FastAPI says. Status, headers and bytes
are those of FastAPI's way in any case, which is the only one where `http.fast_path` is false.
"""

from collections.abc import Callable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from inspect import iscoroutinefunction
from typing import Any, Literal, NamedTuple, get_origin
from uuid import UUID

from fastapi.datastructures import DefaultPlaceholder
from fastapi.exceptions import EndpointContext, ResponseValidationError
from fastapi.params import Form
from fastapi.routing import APIRoute, _extract_endpoint_context
from fastapi.utils import is_body_allowed_for_status_code
from pydantic import ValidationError
from pydantic_core import PydanticUndefined, from_json
from starlette.convertors import Convertor
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, request_response
from starlette.types import Message, Receive, Scope, Send

from ..settings.introspection import alternatives
from ..validation import LARGE_BYTES

# What has to be asked of a route

SCALARS = (str, int, float, Decimal, UUID, date, time, timedelta, Enum)  # and what is below them
NO_COPIES = (*SCALARS, type(None))  # a default of another type is made anew for each call


def obstacle(route: BaseRoute) -> str:
    """Return what keeps a route from the fast path; nothing if it is plain."""
    if type(route) is not APIRoute:
        return "no route of FastAPI's own class"
    return next((name for name, is_there in OBSTACLES.items() if is_there(route)), "")


def _is_no_coroutine(route: APIRoute) -> bool:
    is_stream = route.is_json_stream or route.is_sse_stream or route.stream_item_type
    return bool(is_stream) or not iscoroutinefunction(route.dependant.call)


def _takes_more(route: APIRoute) -> bool:
    needs = route.dependant
    names = (needs.request_param_name, needs.http_connection_param_name, needs.response_param_name)
    return any((*names, needs.background_tasks_param_name, needs.security_scopes_param_name))


def _has_other_parameters(route: APIRoute) -> bool:
    needs = route.dependant
    own = Convertor.__module__
    is_converted = any(type(each).__module__ != own for each in route.param_convertors.values())
    return is_converted or not all(map(_is_plain, (*needs.path_params, *needs.query_params)))


def _is_plain(field: Any) -> bool:
    """Tell whether a parameter is one value under one name, whose default may be shared."""
    info, kinds = field.field_info, alternatives(field.field_info.annotation)
    has_one_name = isinstance(info.validation_alias, str | None) and not field.config
    is_scalar = bool(kinds) and all(map(_is_scalar, kinds))
    is_shared = info.is_required() or isinstance(info.default, NO_COPIES)
    is_made = info.default_factory is not None or info.validate_default
    return has_one_name and is_scalar and is_shared and not is_made


def _is_scalar(kind: Any) -> bool:
    return get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, SCALARS))


def _has_other_body(route: APIRoute) -> bool:
    body = route.body_field
    if body is None:
        return False
    is_whole = any(body is each for each in route.dependant.body_params)  # else it is made of them
    return not is_whole or isinstance(body.field_info, Form) or not _is_complete(body)


def _is_complete(field: Any) -> bool:
    return bool(field._type_adapter.pydantic_complete)


def _has_other_answer(route: APIRoute) -> bool:
    field = route.response_field
    has_body = is_body_allowed_for_status_code(route.status_code)
    return field is None or not has_body or not _is_complete(field)


def _has_options(route: APIRoute) -> bool:
    choices = (route.response_model_include, route.response_model_exclude)
    unset, default = route.response_model_exclude_unset, route.response_model_exclude_defaults
    left_out = unset or default or route.response_model_exclude_none
    return choices != (None, None) or left_out or not route.response_model_by_alias


def _is_wrapped(route: APIRoute) -> bool:
    """Tell whether something is around FastAPI's own functions: a limit, or an integration."""
    app: Any = route.app
    if not _is_made_by("request_response", app):
        return True
    handlers = [cell.cell_contents for cell in app.__closure__]
    return not all(_is_made_by("get_request_handler", each) for each in handlers)


def _is_made_by(factory: str, function: object) -> bool:
    name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    return name == (APIRoute.__module__, f"{factory}.<locals>.app")


OBSTACLES: Mapping[str, Callable[[APIRoute], object]] = {
    "no coroutine function": _is_no_coroutine,
    "dependencies": lambda route: route.dependant.dependencies,
    "headers": lambda route: route.dependant.header_params,
    "cookies": lambda route: route.dependant.cookie_params,
    "the request, the response or background tasks": _takes_more,
    "parameters that are not plain values": _has_other_parameters,
    "a form, or a body of several parts": _has_other_body,
    "no type for what it returns": _has_other_answer,
    "a response class": lambda route: not isinstance(route.response_class, DefaultPlaceholder),
    "options of what it returns": _has_options,
    "something around it, such as a limit": _is_wrapped,
}

# What a call does

LENGTH, TYPE, JSON = b"content-length", b"content-type", b"application/json"
JSON_TYPE = (TYPE, JSON)
# As most callers write it; of any other FastAPI finds out whether it is JSON.
SAYS_JSON = frozenset({JSON, JSON + b"; charset=utf-8", JSON + b";charset=utf-8"})

Received = list[Message | Exception]


class _Input(NamedTuple):
    """A parameter of a function: its `name` there, and its `key` in the path or in the query."""

    name: str
    key: str
    validate: Callable[..., Any]
    default: Any


class FastPath:
    """Answers for a plain route, as its `handle` would."""

    def __init__(self, route: APIRoute) -> None:
        self._route, needs = route, route.dependant
        self._function: Callable[..., Any] = route.endpoint if needs.call is None else needs.call
        self._path = [*map(_input, needs.path_params)]
        self._query = [*map(_input, needs.query_params)]
        self._body = None if route.body_field is None else _input(route.body_field)
        self._status = route.status_code or 200
        self._field: Any = route.response_field
        self._validate, self._to_json = _validate(self._field), _to_json(self._field)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received: Received = []
        arguments = await self._read(scope, receive, received)
        if arguments is None:
            await self._route.app(scope, _again(received, receive), send)
            return
        try:
            answer = await self._function(**arguments)
            content = None if isinstance(answer, Response) else self._written(answer, scope)
        except Exception as error:
            await _give(error, scope, _again(received, receive), send)
            return
        if content is None:
            await _give(answer, scope, _again(received, receive), send)
            return
        headers = [(LENGTH, b"%d" % len(content)), JSON_TYPE]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _read(
        self, scope: Scope, receive: Receive, received: Received
    ) -> dict[str, Any] | None:
        """Return the arguments of the function; None for a request that is not right at once."""
        given = scope["path_params"]
        try:
            arguments = {name: validate(given[key]) for name, key, validate, _ in self._path}
            if self._query:
                arguments |= self._read_query(scope["query_string"])
            if self._body is not None:
                content = await _json(scope, receive, received)
                arguments[self._body.name] = self._body.validate(content, from_attributes=True)
        except Exception:  # whatever it is, FastAPI comes to it as well
            return None
        return arguments

    def _read_query(self, text: bytes) -> dict[str, Any]:
        given = QueryParams(text) if text else {}
        values: dict[str, Any] = {}
        for name, key, validate, default in self._query:
            value = given.get(key)
            if value is None and default is PydanticUndefined:
                raise LookupError(key)
            values[name] = default if value is None else validate(value)
        return values

    def _written(self, answer: object, scope: Scope) -> bytes:
        """Return what the function has returned as JSON; raises ResponseValidationError."""
        try:
            right = self._validate(answer, from_attributes=True)
        except ValidationError:
            right, errors = self._field.validate(answer, {}, loc=("response",))
            if errors:
                where = self._described(scope)
                raise ResponseValidationError(errors, body=answer, endpoint_ctx=where) from None
        content: bytes = self._to_json(right, by_alias=True)
        return content

    def _described(self, scope: Scope) -> EndpointContext:
        """Return where the function is, as FastAPI says it of one that is wrong."""
        path = f"{scope.get('root_path', '').rstrip('/')}{self._route.dependant.path}"
        where = _extract_endpoint_context(self._function)
        return EndpointContext(**{**where, "path": f"{scope['method']} {path}"})


def _input(field: Any) -> _Input:
    key = field.validation_alias or field.alias
    return _Input(field.name, key, _validate(field), field.get_default())


def _validate(field: Any) -> Callable[..., Any]:
    validate: Callable[..., Any] = field._type_adapter.validator.validate_python
    return validate


def _to_json(field: Any) -> Callable[..., bytes]:
    to_json: Callable[..., bytes] = field._type_adapter.serializer.to_json
    return to_json


async def _json(scope: Scope, receive: Receive, received: Received) -> Any:
    """Return the body of a request; raises an error for one that FastAPI has to look at.

    Into `received` goes what has been received by then.
    """
    kind = next((value for name, value in scope["headers"] if name == TYPE), b"")
    if kind not in SAYS_JSON:
        raise ValueError("it may be something else")
    return from_json(await _body(receive, received), allow_inf_nan=False)


async def _body(receive: Receive, received: Received) -> bytes:
    content, is_whole = b"", False
    while not is_whole:
        try:
            message = await receive()
        except Exception as error:
            received.append(error)
            raise
        received.append(message)
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        content += message.get("body", b"")
        is_whole = not message.get("more_body", False)
        if len(content) > LARGE_BYTES:  # whose mistakes may be many
            raise ValueError("it is large")
    return content


def _again(received: Received, receive: Receive) -> Receive:
    """Return what receives once more what has been received, and then what is new."""
    parts = iter(received)

    async def receive_again() -> Message:
        part = next(parts, None)
        if isinstance(part, Exception):
            raise part
        return await receive() if part is None else part

    return receive_again


async def _give(outcome: Response | Exception, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as a route does with what its function has returned or raised."""

    async def ended(_: Request) -> Response:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    await request_response(ended)(scope, receive, send)
