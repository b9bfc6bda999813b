"""FastAPI (`rest`) and connectrpc (`rpc`) for pyvoy, observed as the usual assembly is."""

import time

from alike import ended, provide
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.request import RequestContext
from connectrpc_otel import OpenTelemetryInterceptor
from order_book.orders.domain import Orders
from order_book.orders.memory import MemoryOrderStore
from order_book.orders.model import NewOrder, Order
from order_book.orders.v1 import orders_pb2 as pb
from order_book.orders.v1.orders_connect import OrderService, OrderServiceASGIApplication
from usual import observed_rest

RATIO = 0.01


class Servicer(OrderService):
    """The two methods that are asked."""

    def __init__(self) -> None:
        self._orders = Orders(MemoryOrderStore(), 100)

    async def create_order(
        self, request: pb.CreateOrderRequest, ctx: object
    ) -> pb.CreateOrderResponse:
        new = NewOrder(sku=request.sku, quantity=request.quantity)
        return pb.CreateOrderResponse(order=_message(await self._orders.create(new)))

    async def get_order(self, request: pb.GetOrderRequest, ctx: object) -> pb.GetOrderResponse:
        return pb.GetOrderResponse(order=_message(await self._orders.get(request.id)))


class Observing:
    """A line and a metric for each call."""

    async def on_start(self, ctx: RequestContext) -> int:
        return time.perf_counter_ns()

    async def on_end(self, began: int, ctx: RequestContext, error: Exception | None) -> None:
        ended(ctx.method.name, _code(error), began)


def _code(error: Exception | None) -> str:
    if error is None:
        return "ok"
    return (error.code if isinstance(error, ConnectError) else Code.UNKNOWN).value


def _message(order: Order) -> pb.Order:
    return pb.Order(id=order.id, sku=order.sku, quantity=order.quantity)


provide(RATIO)
rest = observed_rest()
rpc = OrderServiceASGIApplication(
    Servicer(), interceptors=[OpenTelemetryInterceptor(), Observing()]
)
