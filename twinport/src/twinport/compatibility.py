"""Compatibility with the libraries below: the names of theirs that this library depends on.

What is overridden, assigned or read of them although it may be private: a new version could call a
method by another name, and a limit or a guard of ours would silently be no longer there. So each
library here has an upper bound in pyproject.toml, and a start ends with one line where a name is
missing. A test compares the table with the sources.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from inspect import signature
from itertools import chain
from types import CodeType, FunctionType
from typing import Any

from .errors import StartupError

# By distribution, then by class, function or module. Of a class, ".name" is an attribute that only
# its instances have; of a function, names are arguments or texts, such as keys of an ASGI scope.
NAMES: Mapping[str, Mapping[str, str]] = {
    "fastapi": {
        "fastapi._compat:ModelField": "._type_adapter validate",
        "fastapi.applications:FastAPI": ".debug .docs_url .exception_handlers .max_body_size"
        " .middleware_stack .openapi_url .redoc_url .root_path .router .swagger_ui_init_oauth"
        " .swagger_ui_oauth2_redirect_url .swagger_ui_parameters .title .user_middleware"
        " add_exception_handler add_route build_middleware_stack mount openapi routes setup",
        "fastapi.routing": "_EffectiveRouteContext _IncludedRouter _extract_endpoint_context",
        "fastapi.routing:APIRouter": "._low_priority_routes .default .redirect_slashes .routes"
        " _mark_routes_changed",
        "fastapi.routing:get_request_handler": "fastapi_middleware_astack",
    },
    "granian": {
        "granian.net": "SocketHolder",
        "granian.server.embed:Server": "._shd _init_shared_socket stop",
    },
    "grpcio": {
        "grpc._cython.cygrpc": "_LOGGER",
        "grpc.aio._call:Call": "._cython_call",
        "grpc.aio._base_channel:Channel": "channel_ready close get_state stream_stream"
        " stream_unary unary_stream unary_unary wait_for_state_change",
        "grpc.aio._interceptor:StreamStreamClientInterceptor": "intercept_stream_stream",
        "grpc.aio._interceptor:StreamUnaryClientInterceptor": "intercept_stream_unary",
        "grpc.aio._interceptor:UnaryStreamClientInterceptor": "intercept_unary_stream",
        "grpc.aio._interceptor:UnaryUnaryClientInterceptor": "intercept_unary_unary",
        "grpc:GenericRpcHandler": "service",
    },
    "grpcio-health-checking": {
        "grpc_health.v1.health_pb2_grpc:HealthServicer": "Check Watch",
    },
    "h11": {
        "h11._connection:Connection": "next_event their_state trailing_data",
    },
    "h2": {
        "h2.connection:H2Connection": ".decoder .encoder .highest_inbound_stream_id .local_settings"
        " .max_header_list_size"
        " .state_machine .streams _receive_data_frame _receive_frame _receive_goaway_frame"
        " _receive_headers_frame"
        " inbound_flow_control_window increment_flow_control_window"
        " initiate_connection open_inbound_streams reset_stream",
    },
    "hpack": {
        "hpack.hpack:Encoder": ".header_table .table_size_changes add encode header_table_size",
        "hpack.table:HeaderTable": "maxsize",
    },
    "httpx2": {
        "httpx2:AsyncBaseTransport": "aclose handle_async_request",
        "httpx2:AsyncByteStream": "aclose",
        "httpx2:AsyncClient": "auth cookies send",
        "httpx2:Request": ".extensions .stream",
        "httpx2:Response": ".stream",
    },
    "hypercorn": {
        "hypercorn.asyncio.worker_context:EventWrapper": "set wait",
        "hypercorn.config:Config": "errorlog h11_max_incomplete_size include_server_header"
        " response_headers",
        "hypercorn.protocol.h11:H11Protocol": ".app .can_read .client .config .connection"
        " .connection_state .context .keep_alive_requests .send .server .ssl .stream .task_group"
        " _check_protocol _create_stream _maybe_recycle _send_error_response _send_h11_event"
        " handle stream_send",
        "hypercorn.protocol.h2:H2Protocol": ".app .client .closed .config .connection"
        " .connection_state .context .has_data .priority .send .server .ssl .stream_buffers"
        " .streams .task_group _close_stream _create_stream _flush _handle_events"
        " _priority_updated _send_data handle stream_send",
        "hypercorn.protocol.h2:StreamBuffer": "._is_empty ._paused .buffer pop",
        "hypercorn.protocol.http_stream:HTTPStream": ".app .client .closed .scheme .scope"
        " .send .server .start_time .state .stream_id app_send handle",
    },
    "hyperframe": {
        "hyperframe.frame:Frame": ".stream_id _body_repr serialize",
        "hyperframe.frame:GoAwayFrame": ".error_code .last_stream_id .stream_id serialize",
    },
    "opentelemetry-api": {
        "opentelemetry.trace": "_TRACER_PROVIDER",
        "opentelemetry.propagators.textmap:TextMapPropagator": "extract fields inject",
        "opentelemetry.trace:NoOpTracer": "start_span",
        "opentelemetry.trace:TracerProvider": "get_tracer",
    },
    "opentelemetry-exporter-zipkin-json": {
        "opentelemetry.exporter.zipkin.json.v2:JsonV2Encoder": "_encode_span",
    },
    "opentelemetry-sdk": {
        "opentelemetry.sdk.trace.id_generator:RandomIdGenerator": "generate_span_id"
        " generate_trace_id",
        "opentelemetry.sdk.trace.sampling:Sampler": "get_description should_sample",
        "opentelemetry.sdk.trace:Event.__init__": "attributes name timestamp",
        "opentelemetry.sdk.trace:ReadableSpan.__init__": "attributes context end_time events"
        " instrumentation_scope kind links name parent resource start_time status",
        "opentelemetry.sdk.trace:SpanProcessor": "force_flush on_end on_start shutdown",
        "opentelemetry.sdk.trace:TracerProvider": "add_span_processor",
    },
    "prometheus-client": {
        "prometheus_client.registry:Collector": "collect",
    },
    "pydantic": {
        "pydantic.fields:FieldInfo": "alias annotation default_factory validation_alias",
        "pydantic.json_schema:GenerateJsonSchema": "get_default_value model_schema",
        "pydantic.main:BaseModel": "model_config model_dump",
    },
    "pydantic-core": {
        "pydantic_core:SchemaValidator": "_use_prebuilt",
    },
    "pydantic-settings": {
        "pydantic_settings.main:BaseSettings": "model_config settings_customise_sources",
        "pydantic_settings.sources.base:PydanticBaseSettingsSource": "get_field_value",
    },
    "pyjwt": {
        "jwt.api_jwt:PyJWT": "_decode_payload",
    },
    "requests": {
        "requests.sessions:Session": ".auth .cookies merge_environment_settings send",
    },
    "starlette": {
        "starlette._exception_handler:wrap_app_handling_exceptions": "starlette.exception_handlers",
        "starlette._utils": "get_route_path",
        "starlette.middleware.exceptions:ExceptionMiddleware": "._exception_handlers"
        " ._status_handlers .app",
        "starlette.middleware.gzip:GZipMiddleware": ".app .compresslevel .exclude_content_types"
        " .minimum_size",
        "starlette.requests": "json",
        "starlette.routing:BaseRoute": "handle matches",
        "starlette.responses:StreamingResponse": "media_type stream_response",
    },
    "uvicorn": {
        "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol": ".client .cycle .flow .headers"
        " .loop .pipeline .server_state .transport .url _start_asgi_task connection_lost"
        " connection_made data_received on_body on_headers_complete on_response_complete"
        " send_400_response shutdown",
        "uvicorn.protocols.http.httptools_impl:RequestResponseCycle": ".disconnected .keep_alive"
        " .message_event .more_body .response_complete .response_started .scope .transport"
        " run_asgi",
        "uvicorn.server:ServerState": ".default_headers",
    },
}


def check_names() -> None:
    """Raise StartupError if a library that is loaded lacks a name; what is not is not used."""
    for distribution, places in NAMES.items():
        loaded = [place for place in places if place.partition(":")[0] in sys.modules]
        for place in loaded:
            _check(distribution, place, places[place].split())


def _check(distribution: str, place: str, names: list[str]) -> None:
    try:
        target = named(place)
    except AttributeError:
        raise StartupError(_line(distribution, place)) from None
    for name in missing(target, names):
        raise StartupError(_line(distribution, f"{place}.{name.removeprefix('.')}"))


def named(place: str) -> Any:
    """Return what is at `module:Class.name`, or a module, that is loaded."""
    module, _, path = place.partition(":")
    target: Any = sys.modules[module]
    for part in filter(None, path.split(".")):
        target = getattr(target, part)
    return target


def missing(target: Any, names: list[str]) -> list[str]:
    """Return which of `names` a class, function or module does not have.

    An attribute of instances is there as long as the code of some method of the class names it.
    """
    absent = [name for name in names if not hasattr(target, name)]
    words = {*_words(target)} if absent else set()
    return [name for name in absent if name not in words]


def _words(target: Any) -> Iterator[str]:
    if isinstance(target, FunctionType):
        yield from signature(target).parameters
        yield from _texts(target.__code__)
    elif isinstance(target, type):
        yield from re.findall(r"\w+", target.__text_signature__ or "")  # of one written in Rust
        methods = chain.from_iterable(vars(each).values() for each in target.__mro__)
        codes = (each.__code__ for each in methods if isinstance(each, FunctionType))
        yield from map(".{}".format, chain.from_iterable(code.co_names for code in codes))


def _texts(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _texts(constant)
        elif isinstance(constant, str):
            yield constant


def _line(distribution: str, name: str) -> str:
    version, bounds = metadata.version(distribution), _bounds(distribution)
    return f"{distribution} {version} has no {name}; twinport needs it and was tested with {bounds}"


def _bounds(distribution: str) -> str:
    """Return the versions of a library that are allowed, such as "h2<4.5,>=4.4.1"."""
    own = re.compile(rf"{re.escape(distribution)}(?![\w.-])[^;]*")
    found = map(own.match, metadata.requires("twinport") or ())
    return next((each[0].strip() for each in found if each), distribution)
