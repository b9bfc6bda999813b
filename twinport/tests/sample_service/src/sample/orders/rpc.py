"""Orders over gRPC."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import asdict

from .domain import NewOrder, Order, Orders, PageRequest, QuoteRequest, WatchRequest
from .v1 import orders_pb2 as pb
from .v1.orders_pb2_grpc import OrderServiceServicer


class OrderServicer(OrderServiceServicer):
    """The methods of orders.proto."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def CreateOrder(
        self, request: pb.CreateOrderRequest, context: object
    ) -> pb.CreateOrderResponse:
        return pb.CreateOrderResponse(order=_message(await self._orders.create(_new(request))))

    async def GetOrder(self, request: pb.GetOrderRequest, context: object) -> pb.GetOrderResponse:
        return pb.GetOrderResponse(order=_message(await self._orders.get(request.id)))

    async def ListOrders(
        self, request: pb.ListOrdersRequest, context: object
    ) -> pb.ListOrdersResponse:
        page = await self._orders.list(
            PageRequest(page_size=request.page_size, page_token=request.page_token)
        )
        orders = map(_message, page.orders)
        return pb.ListOrdersResponse(orders=orders, next_page_token=page.next_page_token)

    async def DeleteOrder(
        self, request: pb.DeleteOrderRequest, context: object
    ) -> pb.DeleteOrderResponse:
        await self._orders.delete(request.id)
        return pb.DeleteOrderResponse()

    async def WatchOrders(
        self, request: pb.WatchOrdersRequest, context: object
    ) -> AsyncIterator[pb.WatchOrdersResponse]:
        news = await self._orders.watch(WatchRequest(resume_token=request.resume_token))
        async for order, token in news:
            yield pb.WatchOrdersResponse(order=order and _message(order), resume_token=token)

    async def ImportOrders(
        self, request_iterator: AsyncIterable[pb.ImportOrdersRequest], context: object
    ) -> pb.ImportOrdersResponse:
        imported = await self._orders.import_many(_new(new) async for new in request_iterator)
        return pb.ImportOrdersResponse(**asdict(imported))

    async def QuoteOrders(
        self, request_iterator: AsyncIterable[pb.QuoteOrdersRequest], context: object
    ) -> AsyncIterator[pb.QuoteOrdersResponse]:
        items = (QuoteRequest(sku=r.sku, quantity=r.quantity) async for r in request_iterator)
        async for quote in self._orders.quote(items):
            yield pb.QuoteOrdersResponse(**asdict(quote))


def _new(request: pb.CreateOrderRequest | pb.ImportOrdersRequest) -> NewOrder:
    key = request.idempotency_key
    return NewOrder(sku=request.sku, quantity=request.quantity, idempotency_key=key)


def _message(order: Order) -> pb.Order:
    return pb.Order(id=order.id, sku=order.sku, quantity=order.quantity)
