"""What is asked of the orders, over REST and gRPC."""

import json
from collections.abc import Iterator
from threading import Semaphore
from urllib.request import Request, urlopen

import grpc
from h2load import RPC, Ask, framed
from load import QUANTITY, SKU, TIMEOUT_S
from order_book.orders.v1 import orders_pb2 as pb
from order_book.orders.v1.orders_pb2_grpc import OrderServiceStub

PATH = "/v1/orders"
ITEM = {"sku": SKU, "quantity": QUANTITY}
LINE = json.dumps(ITEM, separators=(",", ":")).encode() + b"\n"


def create(talk: str, port: int) -> Ask:
    """Create an order, and return what asks for it."""
    if talk == "grpc":
        return _rpc("GetOrder", pb.GetOrderRequest(id=_created_rpc(port)))
    return Ask(f"{PATH}/{_created_rest(port)}")


def new() -> Ask:
    """Return what creates an order over REST."""
    return Ask(PATH, LINE.strip())


def page(talk: str, size: int) -> Ask:
    """Return what asks for so many orders."""
    if talk == "grpc":
        return _rpc("ListOrders", pb.ListOrdersRequest(page_size=size))
    return Ask(f"{PATH}?page_size={size}")


def imported(talk: str, count: int) -> Ask:
    """Return what sends so many orders in one stream."""
    if talk == "grpc":
        return _rpc("ImportOrders", *[pb.ImportOrdersRequest(**ITEM)] * count)
    return Ask(f"{PATH}:import", LINE * count, "lines")


def quoted(talk: str, count: int) -> Ask:
    """Return what asks for so many prices in one stream, each answered by a message."""
    if talk == "grpc":
        return _rpc("QuoteOrders", *[pb.QuoteOrdersRequest(**ITEM)] * count)
    return Ask(f"{PATH}:quote", LINE * count, "lines")


def quote_in_turn(port: int, count: int) -> None:
    """Ask for so many prices in one stream, for each when the one before it is there."""
    answered = Semaphore()

    def items() -> Iterator[pb.QuoteOrdersRequest]:
        for _ in range(count):
            answered.acquire()
            yield pb.QuoteOrdersRequest(**ITEM)

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for _ in OrderServiceStub(channel).QuoteOrders(items(), timeout=TIMEOUT_S):
            answered.release()


def _rpc(method: str, *messages: object) -> Ask:
    return Ask(f"{RPC}/{method}", framed(*(each.SerializeToString() for each in messages)), "grpc")


def _created_rpc(port: int) -> str:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        new = pb.CreateOrderRequest(**ITEM)
        return OrderServiceStub(channel).CreateOrder(new, timeout=TIMEOUT_S).order.id


def _created_rest(port: int) -> str:
    fields = {"content-type": "application/json"}
    new = Request(f"http://127.0.0.1:{port}{PATH}", LINE.strip(), fields)
    with urlopen(new, timeout=TIMEOUT_S) as answer:
        return json.load(answer)["id"]
