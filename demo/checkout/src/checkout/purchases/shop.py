"""The order book as the shop: another service, called over gRPC with its own client package."""

import grpc
from order_book.orders.v1.orders_pb2 import CreateOrderRequest, QuoteOrdersRequest
from order_book.orders.v1.orders_pb2_grpc import OrderServiceStub


class OrderBookShop:
    """Its errors arrive as the domain errors that they were, so there is nothing to translate."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._orders = OrderServiceStub(channel)

    async def price(self, sku: str, quantity: int) -> int:
        """Return what all pieces cost, in hundredths of one EUR; raises InvalidArgumentError."""
        requests = iter([QuoteOrdersRequest(sku=sku, quantity=quantity)])
        return sum([quote.total_price_cents async for quote in self._orders.QuoteOrders(requests)])

    async def order(self, sku: str, quantity: int) -> str:
        """Order an item and return the id of the order; raises InvalidArgumentError."""
        request = CreateOrderRequest(sku=sku, quantity=quantity)
        response = await self._orders.CreateOrder(request)
        return response.order.id
