"""Composition root of the sample."""

from twinport import Service
from twinport.auth import needs

from .orders.domain import Orders
from .orders.rest import orders_router
from .orders.rpc import OrderServicer
from .orders.v1.orders_pb2_grpc import add_OrderServiceServicer_to_server
from .settings import Settings

READ, WRITE = needs("orders:read"), needs("orders:write")
ACCESS = {
    "CreateOrder": WRITE,
    "GetOrder": READ,
    "ListOrders": READ,
    "DeleteOrder": WRITE,
    "WatchOrders": READ,
    "ImportOrders": WRITE,
    "QuoteOrders": READ,
}


async def build(service: Service, settings: Settings) -> None:
    """Wire the one feature."""
    orders = Orders(settings.orders.page_size)
    service.on_stop(orders.end_watches)
    service.rest.include_router(orders_router(orders))
    service.rpc.add(add_OrderServiceServicer_to_server, OrderServicer(orders))
    service.allow(ACCESS)
