"""Callers of both transports who only look at how a call ends."""

from typing import Any

import grpc
import httpx2

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from twinport.service.ports import Ports

TEA = {"sku": "tea", "quantity": 1}


class ByRest:
    """Operations by the names that they have in the table, over REST."""

    def __init__(self, ports: Ports) -> None:
        self._http = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}", timeout=20)

    async def call(self, operation: str, *tokens: str) -> str:
        """Return the code of the answer."""
        request = {
            "CreateOrder": ("POST", "/v1/orders", TEA),
            "ListOrders": ("GET", "/v1/orders", None),
            "WatchOrders": ("GET", "/v1/orders:watch", None),
            "NoSuchOperation": ("GET", "/no-such-path", None),
        }[operation]
        method, path, body = request
        headers = [("authorization", f"Bearer {token}") for token in tokens]
        async with self._http.stream(method, path, json=body, headers=headers) as answer:
            if answer.is_success:
                return "OK"
            return str((await answer.aread() and answer.json())["code"])

    async def close(self) -> None:
        await self._http.aclose()


class ByRpc:
    """The same over gRPC."""

    def __init__(self, ports: Ports) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}")

    async def call(self, operation: str, *tokens: str) -> str:
        metadata = [("authorization", f"Bearer {token}") for token in tokens]
        try:
            await self._called(operation, metadata)
        except grpc.aio.AioRpcError as error:
            code: str = error.code().name
            return "NOT_FOUND" if code == "UNIMPLEMENTED" else code
        return "OK"

    async def _called(self, operation: str, metadata: list[tuple[str, str]]) -> None:
        stub: Any = OrderServiceStub(self._channel)
        if operation == "CreateOrder":
            await stub.CreateOrder(pb.CreateOrderRequest(**TEA), metadata=metadata)
        elif operation == "ListOrders":
            await stub.ListOrders(pb.ListOrdersRequest(), metadata=metadata)
        elif operation == "WatchOrders":
            await stub.WatchOrders(pb.WatchOrdersRequest(), metadata=metadata).read()
        else:
            await self._channel.unary_unary("/no.such.Service/Method")(b"", metadata=metadata)

    async def close(self) -> None:
        await self._channel.close()
