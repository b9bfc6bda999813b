"""A gRPC method by its name: from the service's own generated code, else by reflection."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Sequence
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

from ..errors import SettingsError, UnavailableError
from .channel import open_blocking_channel
from .clients import connect
from .settings import ClientSettings


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
