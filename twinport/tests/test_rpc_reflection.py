"""What tools learn of the service by asking it."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from sample.orders.v1 import orders_pb2 as pb
from sample.settings import Settings

SERVICE = pb.DESCRIPTOR.services_by_name["OrderService"].full_name
VERSIONS = ["v1", "v1alpha"]
SYMBOLS = [SERVICE, f"{SERVICE}.CreateOrder", pb.Order.DESCRIPTOR.full_name]


async def asked(port: int, version: str, symbol: str) -> ServerReflectionResponse:
    async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            ServerReflectionRequest.SerializeToString,
            ServerReflectionResponse.FromString,
        )([ServerReflectionRequest(file_containing_symbol=symbol)])
        return await call.read()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_file_is_found_by_what_stands_in_it_be_it_a_method(
    version: str, settings: Settings, serving: Callable[..., Any]
):
    described = settings.grpc.model_copy(update={"reflection": True})
    async with serving(settings.model_copy(update={"grpc": described})) as ports:
        for symbol in SYMBOLS:
            answer = await asked(ports.grpc, version, symbol)
            assert (
                pb.DESCRIPTOR.serialized_pb in answer.file_descriptor_response.file_descriptor_proto
            )
        unknown = await asked(ports.grpc, version, f"{SERVICE}.NoSuchMethod")
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
