"""Composition root: the one place that knows every part of the service."""

from twinport import Service

from .orders.access import ACCESS
from .orders.domain import Orders
from .orders.memory import MemoryOrderStore
from .orders.rest import orders_router
from .orders.rpc import OrderServicer
from .orders.v1.orders_pb2_grpc import add_OrderServiceServicer_to_server
from .settings import Settings


async def build(service: Service, settings: Settings) -> None:
    """Wire the features; what is opened here is closed in reverse order at the stop."""
    store = MemoryOrderStore()
    service.on_stop(store.end_watches)
    orders = Orders(store, settings.orders.page_size)
    service.rest.include_router(orders_router(orders))
    service.rpc.add(add_OrderServiceServicer_to_server, OrderServicer(orders))
    service.allow(ACCESS)
