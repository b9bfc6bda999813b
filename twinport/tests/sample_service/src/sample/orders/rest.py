"""Orders over REST."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from twinport.rest import EventsResponse, LinesResponse, lines, of_events, of_lines, problems

from .domain import (
    Imported,
    NewOrder,
    Order,
    OrderPage,
    Orders,
    PageRequest,
    PageSize,
    Quote,
    QuoteRequest,
    Token,
    WatchRequest,
)


def orders_router(orders: Orders) -> APIRouter:
    """Return the routes under /v1/orders; each is named like the gRPC method that it mirrors."""
    router = APIRouter(
        prefix="/v1/orders",
        tags=["orders"],
        responses=problems(400, 401, 403, 429, 500, 503, 504),
        generate_unique_id_function=lambda route: route.name,
    )
    _add_calls(router, orders)
    _add_watch(router, orders)
    _add_lines(router, orders)
    return router


def _add_calls(router: APIRouter, orders: Orders) -> None:
    @router.get("/{order_id}")
    async def get_order(order_id: str) -> Order:
        """Return one order."""
        return await orders.get(order_id)

    @router.post("", status_code=201)
    async def create_order(new: NewOrder) -> Order:
        """Accept an order."""
        return await orders.create(new)

    @router.delete("/{order_id}", status_code=204)
    async def delete_order(order_id: str) -> None:
        """Forget one order."""
        await orders.delete(order_id)

    @router.get("")
    async def list_orders(page_size: PageSize = 0, page_token: Token = "") -> OrderPage:
        """Return orders in pages."""
        return await orders.list(PageRequest(page_size=page_size, page_token=page_token))


def _add_watch(router: APIRouter, orders: Orders) -> None:
    @router.get(":watch", response_class=EventsResponse, responses={200: of_events(Order, Token)})
    async def watch_orders(
        resume_token: Token = "", last_event_id: Annotated[Token, Header()] = ""
    ) -> Response:
        """Send each new order."""
        request = WatchRequest(resume_token=last_event_id or resume_token)
        return EventsResponse(await orders.watch(request))


def _add_lines(router: APIRouter, orders: Orders) -> None:
    @router.post(":import", openapi_extra={"requestBody": of_lines(NewOrder)})
    async def import_orders(request: Request) -> Imported:
        """Accept orders as they arrive, one JSON object a line."""
        return await orders.import_many(lines(request, NewOrder))

    @router.post(
        ":quote",
        response_class=LinesResponse,
        responses={200: of_lines(Quote)},
        openapi_extra={"requestBody": of_lines(QuoteRequest)},
    )
    async def quote_orders(request: Request) -> Response:
        """Answer each line with a price as it arrives."""
        return await LinesResponse.of(orders.quote(lines(request, QuoteRequest)))
