"""Calls one after the other, on one connection, from outside of what is measured."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import httpx2
from order_book.orders.v1 import orders_pb2 as pb
from order_book.orders.v1.orders_pb2_grpc import OrderServiceStub

SKU, QUANTITY = "green-tea", 3
TIMEOUT_S = 60

Load = Callable[[int], None]


@contextmanager
def make_load(talk: str, port: int) -> Iterator[Load]:
    """Yield what asks for the same order a number of times, over h1, h2 or grpc."""
    if talk == "grpc":
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield _rpc_load(OrderServiceStub(channel))
    else:
        is_h2 = talk == "h2"
        url = f"http://127.0.0.1:{port}/v1/orders"
        with httpx2.Client(http1=not is_h2, http2=is_h2, timeout=TIMEOUT_S) as client:
            yield _rest_load(client, url)


def _rest_load(client: httpx2.Client, url: str) -> Load:
    created = client.post(url, json={"sku": SKU, "quantity": QUANTITY}).raise_for_status()
    order = f"{url}/{created.json()['id']}"

    def load(count: int) -> None:
        for _ in range(count):
            client.get(order).raise_for_status()

    return load


def _rpc_load(stub: OrderServiceStub) -> Load:
    new = pb.CreateOrderRequest(sku=SKU, quantity=QUANTITY)
    created = stub.CreateOrder(new, timeout=TIMEOUT_S)
    asked = pb.GetOrderRequest(id=created.order.id)

    def load(count: int) -> None:
        for _ in range(count):
            stub.GetOrder(asked, timeout=TIMEOUT_S)

    return load
