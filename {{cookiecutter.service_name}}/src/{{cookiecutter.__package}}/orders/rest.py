"""Orders over REST: parse, call the domain, render."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from twinport.rest import EventsResponse, LinesResponse, lines, of_events, of_lines, problems

from .domain import Orders
from .model import (
    Imported,
    NewOrder,
    Order,
    OrderId,
    OrderPage,
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
    _add_streams(router, orders)
    return router


def _add_calls(router: APIRouter, orders: Orders) -> None:
    @router.get("/{order_id}", responses=problems(404))
    async def get_order(order_id: OrderId) -> Order:
        """Return one order."""
        return await orders.get(order_id)

    @router.post("", status_code=201, responses=problems(409))
    async def create_order(new: NewOrder) -> Order:
        """Accept an order; the same one again under its `idempotency_key` gives the same answer."""
        return await orders.create(new)

    @router.get("")
    async def list_orders(page_size: PageSize = 0, page_token: Token = "") -> OrderPage:
        """Return orders in pages, oldest first, stable while orders come and go."""
        return await orders.list(PageRequest(page_size=page_size, page_token=page_token))

    @router.delete("/{order_id}", status_code=204, responses=problems(404))
    async def delete_order(order_id: OrderId) -> None:
        """Forget one order and its `idempotency_key`."""
        await orders.delete(order_id)


def _add_streams(router: APIRouter, orders: Orders) -> None:
    @router.get(":watch", response_class=EventsResponse, responses={200: of_events(Order, Token)})
    async def watch_orders(
        resume_token: Token = "", last_event_id: Annotated[Token, Header()] = ""
    ) -> Response:
        """Send each new order until either side hangs up.

        The id of an event is the `resume_token` to go on after it; the first event comes at once
        and has nothing but that. An error in the midst is a last event named `problem`.
        """
        request = WatchRequest(resume_token=last_event_id or resume_token)
        return EventsResponse(await orders.watch(request))

    @router.post(
        ":import", responses=problems(409), openapi_extra={"requestBody": of_lines(NewOrder)}
    )
    async def import_orders(request: Request) -> Imported:
        """Accept orders as they arrive, one JSON object a line.

        A wrong one ends the import; those before it are kept, so mend it and send all again under
        the same keys.
        """
        return await orders.import_many(lines(request, NewOrder))

    @router.post(
        ":quote",
        response_class=LinesResponse,
        responses={200: of_lines(Quote)},
        openapi_extra={"requestBody": of_lines(QuoteRequest)},
    )
    async def quote_orders(request: Request) -> Response:
        """Answer each line with a price as it arrives, also while more lines are being sent.

        A wrong line ends the answer: with a problem as its last line, unless it was the first.
        """
        return await LinesResponse.of(orders.quote(lines(request, QuoteRequest)))
