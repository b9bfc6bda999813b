"""The command `call METHOD JSON`: one traced gRPC call from the terminal, by reflection."""

import argparse
import asyncio
import json
import re
import sys
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from google.protobuf import descriptor_pool, json_format
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from loguru import logger
from opentelemetry import trace

from ..cli import Command, Invocation
from ..errors import FatalError, ServiceError, SettingsError, UnavailableError, shortened
from ..traces import Tracing, span, tracing
from .clients import connect
from .grpc_channel import open_blocking_channel
from .settings import ClientSettings, ClientTls


class Method(NamedTuple):
    """A method that can be called without generated code."""

    descriptor: MethodDescriptor

    def requests(self, text: str) -> list[Message]:
        """Return the messages of JSON; raises ValueError, ParseError, RecursionError."""
        content = json.loads(text)
        several = content if isinstance(content, list) else [content]
        if not self.descriptor.client_streaming and len(several) != 1:
            raise ValueError("a list, but the method takes one message")
        if not all(isinstance(each, dict) for each in several):
            raise ValueError("a message must be an object, as in {}")
        kind: Any = GetMessageClass(self.descriptor.input_type)
        return [json_format.ParseDict(each, kind()) for each in several]

    async def answers(
        self,
        settings: ClientSettings,
        requests: Sequence[Message],
        metadata: Sequence[tuple[str, str | bytes]],
    ) -> AsyncIterator[Message]:
        """Yield each answer; raises ServiceError, StartupError."""
        sent = iter(requests) if self.descriptor.client_streaming else requests[0]
        async with connect(settings) as channel:
            call = self._multicallable(channel)(sent, metadata=metadata)
            async for answer in call if self.descriptor.server_streaming else _once(call):
                yield answer

    def _multicallable(self, channel: grpc.aio.Channel) -> Any:
        streams = (self.descriptor.client_streaming, self.descriptor.server_streaming)
        kind = "_".join("stream" if streaming else "unary" for streaming in streams)
        answer: Any = GetMessageClass(self.descriptor.output_type)
        return getattr(channel, kind)(
            f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}",
            request_serializer=_serialised,
            response_deserializer=answer.FromString,
        )


async def _once(call: Awaitable[Message]) -> AsyncIterator[Message]:
    yield await call


async def find(name: str, settings: ClientSettings) -> Method:
    """Return the method `package.Service/Method`; raises SettingsError or UnavailableError."""
    service, _, method = name.lstrip("/").partition("/")
    if "." not in service or not method:
        raise SettingsError([f"METHOD: {name!r} is not like package.Service/Method"])
    try:
        known = descriptor_pool.Default().FindServiceByName(service)
    except KeyError:
        known = await asyncio.to_thread(_reflected, service, settings)
    if method not in known.methods_by_name:
        raise SettingsError([f"METHOD: {service} has no {method!r}, but {_listed(known)}"])
    return Method(known.methods_by_name[method])


def _reflected(service: str, settings: ClientSettings) -> ServiceDescriptor:
    """Ask the other service what it has; raises SettingsError or UnavailableError."""
    try:
        with open_blocking_channel(settings.target, settings) as channel:
            pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
            return pool.FindServiceByName(service)
    except (KeyError, grpc.RpcError) as error:
        if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.UNAVAILABLE:
            raise UnavailableError(f"{settings.address} is not available") from error
        raise SettingsError([f"METHOD: {service!r} is not known, here or there"]) from error


def _listed(service: ServiceDescriptor) -> str:
    return ", ".join(service.methods_by_name)


def _serialised(message: Message) -> bytes:
    return message.SerializeToString()


EVERYWHERE = {"0.0.0.0", "::"}
KEY, TEXT = re.compile(r"[0-9a-z_.-]+"), re.compile(r"[ -~]*")  # of grpc's PROTOCOL-HTTP2.md


class CallError(FatalError):
    """The call was answered with an error, or not at all."""


def call_command() -> Command:
    """Return the subcommand `call`."""
    return Command("call", "make one gRPC call, for debugging", _run, _add_arguments)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("method", metavar="METHOD", help="package.Service/Method")
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
    who = settings.service.model_copy(update={"name": f"{settings.service.name}-call"})
    flush_s = settings.lifecycle.flush.total_seconds()
    with tracing(everything, who, settings.logs.redact) as spans:
        try:
            asyncio.run(_call(arguments, client, spans, flush_s))
        except KeyboardInterrupt:  # how one leaves a stream
            return 130
    return 0


async def _call(
    arguments: argparse.Namespace, client: ClientSettings, spans: Tracing, flush_s: float
) -> None:
    metadata = [_pair(text) for text in arguments.metadata]
    try:
        method = await find(arguments.method, client)
        requests = _requests(method, arguments.json)
        with span(f"call {arguments.method}") as root:
            _tell_trace_id(root)
            await _show(method.answers(client, requests, metadata))
    except ServiceError as error:
        raise CallError(_line(error)) from error
    finally:
        await spans.close(flush_s)


async def _show(answers: AsyncIterator[Message]) -> None:
    """Print each answer as a line of JSON, fields with default values included."""
    async for answer in answers:
        text = json_format.MessageToJson(
            answer,
            always_print_fields_with_no_presence=True,
            preserving_proto_field_name=True,
            indent=None,
            ensure_ascii=False,
        )
        print(text, flush=True)


def _client(settings: Any, arguments: argparse.Namespace) -> ClientSettings:
    """Return the settings for a client that is named, for any target, or for the own port."""
    if arguments.target in settings.clients:
        chosen: ClientSettings = settings.clients[arguments.target]
        return chosen
    own = settings.grpc
    host = "localhost" if own.host in EVERYWHERE else own.host
    tls = _tls(arguments, own_speaks_it=own.tls is not None and not arguments.target)
    return ClientSettings(target=arguments.target or f"{host}:{own.port}", tls=tls)


def _tls(arguments: argparse.Namespace, *, own_speaks_it: bool) -> ClientTls | None:
    certificate, key = arguments.certificate, arguments.key
    if (certificate is None) != (key is None):
        raise SettingsError(["--certificate, --key: must be given together"])
    if arguments.ca is None and certificate is None and not own_speaks_it:
        return None
    return ClientTls(ca=arguments.ca, certificate=certificate, key=key)


def _requests(method: Method, text: str) -> list[Message]:
    try:
        return method.requests(text)
    except (json_format.ParseError, ValueError, RecursionError) as error:
        said = shortened(" ".join(str(error).split()))
        raise SettingsError([f"JSON: {said}"]) from error


def _pair(text: str) -> tuple[str, str | bytes]:
    key, found, value = text.partition("=")
    if not found or not KEY.fullmatch(key := key.lower()) or not TEXT.fullmatch(value):
        raise SettingsError(["--metadata: must be KEY=VALUE, of which gRPC sends ASCII only"])
    return key, _bytes(value) if key.endswith("-bin") else value


def _bytes(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise SettingsError(["--metadata: the value of a KEY-bin must be base64"]) from error


def _tell_trace_id(root: trace.Span) -> None:
    trace_id = trace.format_trace_id(root.get_span_context().trace_id)
    print(f"trace id {trace_id}", file=sys.stderr, flush=True)


def _line(error: ServiceError) -> str:
    fields = "".join(f"; {wrong.field}: {wrong.description}" for wrong in error.fields)
    return f"{error.code}: {error}{fields}"
