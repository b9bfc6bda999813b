"""Purchases over gRPC: parse, call the domain, render."""

from .domain import NewPurchase, Purchases
from .v1 import purchases_pb2 as pb
from .v1.purchases_pb2_grpc import PurchaseServiceServicer


class PurchaseServicer(PurchaseServiceServicer):
    """The methods of purchases.proto."""

    def __init__(self, purchases: Purchases) -> None:
        self._purchases = purchases

    async def CreatePurchase(
        self, request: pb.CreatePurchaseRequest, context: object
    ) -> pb.CreatePurchaseResponse:
        new = NewPurchase(sku=request.sku, quantity=request.quantity)
        bought = await self._purchases.create(new)
        return pb.CreatePurchaseResponse(
            order_id=bought.order_id, total_price_cents=bought.total_price_cents
        )
