"""The command `call METHOD JSON`: one traced gRPC call from the terminal, by reflection."""

import argparse
import asyncio
import json
import re
import sys
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pool, json_format
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from loguru import logger
from opentelemetry import trace

from ..cli import Command, Invocation, write
from ..errors import (
    FatalError,
    ServiceError,
    SettingsError,
    StartupError,
    UnavailableError,
    shortened,
)
from ..traces import Tracing, span, tracing
from .clients import connect
from .grpc_channel import open_blocking_channel
from .outgoing_call import Outgoing
from .settings import ClientSettings, ClientTls

EVERYWHERE = {"0.0.0.0", "::"}
KEY, TEXT = re.compile(r"[0-9a-z_.-]+"), re.compile(r"[ -~]*")  # of grpc's PROTOCOL-HTTP2.md


class CallError(FatalError):
    """The call was answered with an error, or not at all."""


def call_command() -> Command:
    """Return the subcommand `call`."""
    return Command("call", "make one gRPC call, for debugging", _run, _add_arguments)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "method",
        metavar="METHOD",
        nargs="?",
        default="",
        help="package.Service/Method; without it, you are told which there are",
    )
    parser.add_argument(
        "json", metavar="JSON", nargs="?", default="{}", help="the request; a list for a stream"
    )
    parser.add_argument(
        "--target", default="", help="host:port, or a name in [clients]; else this service's own"
    )
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="speak TLS, and trust these authorities (PEM)"
    )
    parser.add_argument(
        "--certificate", type=Path, metavar="FILE", help="be known by it (PEM); needs its --key"
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="private key of --certificate")
    parser.add_argument(
        "--metadata",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="sent with the call; in base64 if KEY ends in -bin",
    )


def _run(invocation: Invocation) -> int:
    logger.remove()  # what is printed is the answer, or one line that says why there is none
    arguments, settings = invocation.arguments, invocation.load().settings
    client = _client(settings, arguments)
    everything = settings.traces.model_copy(update={"sample_ratio": 1.0})
    identity = settings.service.model_copy(update={"name": f"{settings.service.name}-call"})
    flush_s = settings.lifecycle.flush.total_seconds()
    with tracing(everything, identity, settings.logs.redact) as spans:
        try:
            asyncio.run(_call(arguments, client, spans, flush_s))
        except KeyboardInterrupt:  # how one leaves a stream
            return 130
    return 0


def _client(settings: Any, arguments: argparse.Namespace) -> ClientSettings:
    """Return the settings for a client that is named, for any target, or for the own port."""
    if arguments.target in settings.clients:
        named: ClientSettings = settings.clients[arguments.target]
        return named
    own = settings.grpc
    host = "localhost" if own.host in EVERYWHERE else own.host
    tls = _tls(arguments, own_speaks_it=own.tls is not None and not arguments.target)
    target = arguments.target or f"{host}:{own.port}"
    return ClientSettings(target=target, tls=tls, health_check=False)  # also if it is not ready


def _tls(arguments: argparse.Namespace, *, own_speaks_it: bool) -> ClientTls | None:
    ca, certificate, key = arguments.ca, arguments.certificate, arguments.key
    if (certificate is None) != (key is None):
        raise SettingsError(["--certificate, --key: must be given together"])
    if ca is None and certificate is None and not own_speaks_it:
        return None
    return ClientTls(ca=ca, certificate=certificate, key=key)


async def _call(
    arguments: argparse.Namespace, client: ClientSettings, spans: Tracing, flush_s: float
) -> None:
    metadata = [_pair(text) for text in arguments.metadata]
    try:
        method = await _method(arguments.method, client)
        requests = _requests(method, arguments.json)
        with span(f"call {arguments.method}") as root:
            trace_id = trace.format_trace_id(root.get_span_context().trace_id)
            _name(trace_id)
            await _print(_answers(method, client, requests, metadata))
    except ServiceError as error:
        fields = "".join(f"; {wrong.field}: {wrong.description}" for wrong in error.fields)
        raise CallError(f"{error.code}: {error}{fields}") from error
    finally:
        await spans.close(flush_s)


def _name(trace_id: str) -> None:
    with suppress(FatalError):  # of a disk that is full: the answer matters
        write(f"trace id {trace_id}\n", sys.stderr)


def _pair(text: str) -> tuple[str, str | bytes]:
    """Return key and value of `--metadata`; raises SettingsError."""
    key, equals, value = text.partition("=")
    if not equals or not KEY.fullmatch(key := key.lower()) or not TEXT.fullmatch(value):
        raise SettingsError(["--metadata: must be KEY=VALUE, of which gRPC sends ASCII only"])
    if not key.endswith("-bin"):
        return key, value
    try:
        return key, b64decode(value, validate=True)
    except ValueError as error:
        raise SettingsError(["--metadata: the value of a KEY-bin must be base64"]) from error


async def _method(name: str, client: ClientSettings) -> MethodDescriptor:
    """Return the method `package.Service/Method`; raises SettingsError or UnavailableError."""
    service_name, _, method = name.lstrip("/").partition("/")
    if "." not in service_name or not method:
        problem = f"{name!r} is not like package.Service/Method" if name else "is missing"
        there = ", ".join(await asyncio.to_thread(_methods, client)) or "none that is known"
        raise SettingsError([f"METHOD: {problem}; there are: {there}"])
    try:
        service = descriptor_pool.Default().FindServiceByName(service_name)
    except KeyError:
        service = await asyncio.to_thread(_reflected, service_name, client)
    if method not in service.methods_by_name:
        names = ", ".join(service.methods_by_name)
        raise SettingsError([f"METHOD: {service_name} has no {method!r}, but {names}"])
    return service.methods_by_name[method]


def _methods(client: ClientSettings) -> list[str]:
    """Return the methods that are known here, and those that the other service tells of."""
    services = [*_services_here(), *_services_there(client)]
    names = {f"{each.full_name}/{method}" for each in services for method in each.methods_by_name}
    return sorted(name for name in names if not name.startswith("grpc."))  # every service has those


def _services_here() -> Iterator[ServiceDescriptor]:
    for module in [*sys.modules.values()]:
        file = getattr(module, "__dict__", {}).get("DESCRIPTOR")
        if isinstance(file, FileDescriptor):
            yield from file.services_by_name.values()


def _services_there(client: ClientSettings) -> list[ServiceDescriptor]:
    try:
        with open_blocking_channel(Outgoing(client.target, client, ())) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            return [*_described(DescriptorPool(database), database.get_services())]
    except (grpc.RpcError, StartupError):  # it is away, or tells nobody
        return []


def _described(pool: DescriptorPool, names: Iterable[str]) -> Iterator[ServiceDescriptor]:
    for name in names:
        with suppress(KeyError):  # reflection of v1 has no description in grpc's own library
            yield pool.FindServiceByName(name)


def _reflected(service: str, client: ClientSettings) -> ServiceDescriptor:
    """Ask the other service what it has; raises SettingsError or UnavailableError."""
    try:
        with open_blocking_channel(Outgoing(client.target, client, ())) as channel:
            pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
            return pool.FindServiceByName(service)
    except (KeyError, grpc.RpcError) as error:
        if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.UNAVAILABLE:
            raise UnavailableError(f"{client.address} is not available") from error
        raise SettingsError([f"METHOD: {service!r} is not known, here or there"]) from error


def _requests(method: MethodDescriptor, text: str) -> list[Message]:
    """Return the messages of JSON; raises SettingsError."""
    try:
        return _messages(method, json.loads(text))
    except (json_format.ParseError, ValueError, RecursionError) as error:
        reason = shortened(" ".join(str(error).split()))
        raise SettingsError([f"JSON: {reason}"]) from error


def _messages(method: MethodDescriptor, content: Any) -> list[Message]:
    several = content if isinstance(content, list) else [content]
    if not method.client_streaming and len(several) != 1:
        raise ValueError("a list, but the method takes one message")
    if not all(isinstance(each, dict) for each in several):
        raise ValueError("a message must be an object, as in {}")
    message: Any = GetMessageClass(method.input_type)
    return [json_format.ParseDict(each, message()) for each in several]


async def _answers(
    method: MethodDescriptor,
    client: ClientSettings,
    requests: Sequence[Message],
    metadata: Sequence[tuple[str, str | bytes]],
) -> AsyncIterator[Message]:
    """Call it, and yield each answer; raises ServiceError, StartupError."""
    request = iter(requests) if method.client_streaming else requests[0]
    async with connect(client) as channel:
        call = _multicallable(channel, method)(request, metadata=metadata)
        async for answer in call if method.server_streaming else _once(call):
            yield answer


def _multicallable(channel: grpc.aio.Channel, method: MethodDescriptor) -> Any:
    streams = (method.client_streaming, method.server_streaming)
    kind = "_".join("stream" if streaming else "unary" for streaming in streams)
    answer: Any = GetMessageClass(method.output_type)
    return getattr(channel, kind)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=answer.FromString,
    )


async def _once(call: Awaitable[Message]) -> AsyncIterator[Message]:
    yield await call


async def _print(answers: AsyncIterator[Message]) -> None:
    """Print each answer as a line of JSON, fields with default values included."""
    async for answer in answers:
        line = json_format.MessageToJson(
            answer,
            always_print_fields_with_no_presence=True,
            preserving_proto_field_name=True,
            indent=None,
            ensure_ascii=False,
        )
        write(f"{line}\n", sys.stdout)
