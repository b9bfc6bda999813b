"""Server reflection, v1 and v1alpha: the same messages, of which the library knows v1alpha."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha.reflection import aio
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from ..calls import EARLY_S, expired
from .server_call import Handler, RpcGuard

NAMES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
METHOD = "ServerReflectionInfo"


def reflection(
    services: Sequence[str], stopped: asyncio.Event, guard: RpcGuard | None
) -> dict[str, Handler]:
    """Return the method of every version; its streams end when `stopped` is set.

    And when what their caller is known by expires.
    """
    servicer = aio.ReflectionServicer([*services, *NAMES])

    async def info(
        requests: AsyncIterator[ServerReflectionRequest], context: Any
    ) -> AsyncIterator[ServerReflectionResponse]:
        until = math.inf if guard is None else await guard.admit_reader(context)
        asked = _until(stopped, until, requests)
        answers: Any = servicer.ServerReflectionInfo(asked, context)
        async for answer in answers:
            yield answer
        if time.time() >= until - EARLY_S:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(expired()))

    handler = grpc.stream_stream_rpc_method_handler(
        info,
        ServerReflectionRequest.FromString,
        ServerReflectionResponse.SerializeToString,
    )
    return {f"{name}/{METHOD}": handler for name in NAMES}


async def _until(
    stopped: asyncio.Event, until: float, requests: AsyncIterator[ServerReflectionRequest]
) -> AsyncIterator[ServerReflectionRequest]:
    stop = asyncio.ensure_future(stopped.wait())
    while True:
        request = asyncio.ensure_future(anext(requests, None))
        left = None if until == math.inf else max(0.0, until - time.time())
        await asyncio.wait((request, stop), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if not request.done() or (message := request.result()) is None:
            request.cancel()
            stop.cancel()
            return
        yield _of_service(message)


def _of_service(message: ServerReflectionRequest) -> ServerReflectionRequest:
    """Ask for the service of a method: protobuf's pool finds no file by the method's name."""
    if message.HasField("file_containing_symbol"):
        with suppress(KeyError):
            method = descriptor_pool.Default().FindMethodByName(message.file_containing_symbol)
            message.file_containing_symbol = method.containing_service.full_name
    return message
