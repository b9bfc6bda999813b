"""What may be done with orders; a token is how many orders came before it."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar
from uuid import uuid4

from pydantic import ConfigDict, Field

from twinport import AlreadyExistsError, FieldViolation, NotFoundError, checked, dotted

LARGEST_PAGE = 1000  # orders
PRICE_CENTS = 100  # of one piece

Sku = Annotated[
    str,
    Field(
        description="Which article.",
        pattern="^[a-z0-9]+(-[a-z0-9]+)*$",
        max_length=64,
        examples=["tea"],
    ),
]
Quantity = Annotated[int, Field(description="Pieces.", strict=True, ge=1, le=1_000_000)]
Key = Annotated[str, Field(pattern="^[!-~]*$", max_length=64)]
PageSize = Annotated[int, Field(ge=0, le=LARGEST_PAGE)]
Token = Annotated[str, Field(pattern="^([0-9a-f]{16})?$")]


class Input:
    """What a caller says: an unknown field is a mistake, and so is a value out of bounds."""

    __slots__ = ()
    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", revalidate_instances="always")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """`quantity` pieces of the article `sku`."""

    sku: Sku
    quantity: Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder(Item, Input):
    """What a caller says to order an item."""

    idempotency_key: Key = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteRequest(Item, Input):
    """What a caller says to hear the price of an item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest(Input):
    """Which page of a list."""

    page_size: PageSize = 0
    page_token: Token = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRequest(Input):
    """Where a watch begins; empty: now."""

    resume_token: Token = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(Item):
    """An accepted item."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote(Item):
    """What an item costs."""

    unit_price_cents: int
    total_price_cents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    """Orders, oldest first; `next_page_token` is empty on the last page."""

    orders: Sequence[Order]
    next_page_token: Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """How many orders were `created`, and how many were there already under their key."""

    created: int
    existing: int


class Orders:
    """The rules; `page_size` serves those who name none."""

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._log: list[Order | None] = []  # None: deleted
        self._by_key: dict[str, Order] = {}
        self._changed = asyncio.Event()
        self._ended = False

    async def create(self, new: NewOrder) -> Order:
        """Accept an order; raises InvalidArgumentError, AlreadyExistsError."""
        return self._kept(new)[0]

    async def get(self, order_id: str) -> Order:
        """Return one order; raises NotFoundError."""
        return self._found(order_id)

    async def delete(self, order_id: str) -> None:
        """Forget one order and its key; raises NotFoundError."""
        order = self._found(order_id)
        self._log[self._log.index(order)] = None
        self._by_key = {key: kept for key, kept in self._by_key.items() if kept is not order}

    async def list(self, request: PageRequest) -> OrderPage:
        """Return a page; raises InvalidArgumentError."""
        size = checked(request).page_size or self._page_size
        start = int(request.page_token or "0", 16)
        placed = [(n, order) for n, order in enumerate(self._log[start:], start + 1) if order]
        token = _token(placed[size - 1][0]) if len(placed) > size else ""
        return OrderPage(orders=[order for _, order in placed[:size]], next_page_token=token)

    async def watch(self, request: WatchRequest) -> AsyncIterator[tuple[Order | None, str]]:
        """Return a first token, then each new order; raises InvalidArgumentError at once."""
        token = checked(request).resume_token
        return self._news(int(token, 16) if token else len(self._log))

    async def import_many(self, news: AsyncIterable[NewOrder]) -> Imported:
        """Accept orders as they arrive; raises what `create` does, and keeps those before."""
        created = total = 0
        async for new in news:
            created, total = created + self._kept(new, total)[1], total + 1
        return Imported(created=created, existing=total - created)

    async def quote(self, requests: AsyncIterable[QuoteRequest]) -> AsyncIterator[Quote]:
        """Answer each request with a price as it arrives; raises InvalidArgumentError."""
        index = 0
        async for request in requests:
            item = checked(request, index)
            total = PRICE_CENTS * item.quantity
            yield Quote(
                sku=item.sku,
                quantity=item.quantity,
                unit_price_cents=PRICE_CENTS,
                total_price_cents=total,
            )
            index += 1

    def end_watches(self) -> None:
        """Let every watch end, now and later."""
        self._ended = True
        self._wake()

    def _kept(self, new: NewOrder, *path: int) -> tuple[Order, bool]:
        content = checked(new, *path)
        kept = self._by_key.get(content.idempotency_key)
        if kept is not None and (kept.sku, kept.quantity) != (content.sku, content.quantity):
            wrong = FieldViolation(dotted(*path, "idempotency_key"), "belongs to another order")
            raise AlreadyExistsError("the key belongs to another order", fields=[wrong])
        return (kept, False) if kept else (self._added(content), True)

    def _added(self, content: NewOrder) -> Order:
        order = Order(id=uuid4().hex, sku=content.sku, quantity=content.quantity)
        self._log.append(order)
        if content.idempotency_key:
            self._by_key[content.idempotency_key] = order
        self._wake()
        return order

    def _found(self, order_id: str) -> Order:
        for order in self._log:
            if order and order.id == order_id:
                return order
        raise NotFoundError("no such order")

    async def _news(self, position: int) -> AsyncIterator[tuple[Order | None, str]]:
        yield None, _token(position)
        while not self._ended:
            changed = self._changed  # taken before the read, or a change during it is lost
            news = [(order, at) for at, order in enumerate(self._log, 1) if order and at > position]
            position = len(self._log)
            for order, at in news:
                yield order, _token(at)
            await changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _token(position: int) -> str:
    return f"{position:016x}"
