"""Composition root: the one place that knows every part of the service."""

from twinport import Service

from .purchases.domain import Purchases
from .purchases.rest import purchases_router
from .purchases.rpc import PurchaseServicer
from .purchases.shop import OrderBookShop
from .purchases.v1.purchases_pb2_grpc import add_PurchaseServiceServicer_to_server
from .settings import Settings


async def build(service: Service, settings: Settings) -> None:
    """Wire the features; what is opened here is closed in reverse order at the stop."""
    purchases = Purchases(OrderBookShop(service.client("order-book")))
    service.rest.include_router(purchases_router(purchases))
    service.rpc.add(add_PurchaseServiceServicer_to_server, PurchaseServicer(purchases))
