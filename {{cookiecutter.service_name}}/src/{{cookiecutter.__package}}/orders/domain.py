"""What an order is and what may be done with it; knows no transport and no storage."""

import zlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple, Protocol
from uuid import uuid4

from pydantic import BeforeValidator, ConfigDict, Field

from ..runtime.errors import AlreadyExistsError, FieldViolation, NotFoundError
from ..runtime.validation import Step, checked, dotted

LARGEST_PAGE = 1000  # orders
CURRENCY = "EUR"
DISCOUNT_FROM = 100  # pieces
DISCOUNT_PERCENT = 10


def _whole(value: object) -> object:
    """Return 2 for 2.0: to JSON Schema, and to the JSON of protobuf, they are one number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Sku = Annotated[
    str,
    Field(
        description="Which article: lower-case words and numbers joined by hyphens.",
        pattern="^[a-z0-9]+(-[a-z0-9]+)*$",
        max_length=64,
        examples=["green-tea"],
    ),
]
Quantity = Annotated[
    int,
    Field(description="Pieces.", strict=True, ge=1, le=1_000_000, examples=[2]),
    BeforeValidator(_whole),
]
IdempotencyKey = Annotated[
    str,
    Field(
        description="Chosen by the client, so that it may send the same order again; "
        "printable ASCII, empty for none. It lives as long as its order.",
        pattern="^[!-~]*$",
        max_length=64,
        examples=["checkout-4711"],
    ),
]
OrderId = Annotated[
    str, Field(description="32 hex digits.", examples=["5f0c2b8e9d1a4c37b6e8f2a90d4c7e15"])
]
PageSize = Annotated[
    int,
    Field(
        description="Orders in a page; 0 for the service's own.",
        ge=0,
        le=LARGEST_PAGE,
        examples=[50],
    ),
]
Token = Annotated[
    str,
    Field(
        description="As received from an earlier answer; empty for none.",
        pattern="^([0-9a-f]{16})?$",
        examples=["18c2b7a4f1d03e5a"],
    ),
]
Count = Annotated[int, Field(ge=0, examples=[3])]
Cents = Annotated[int, Field(description=f"Hundredths of one {CURRENCY}.", examples=[1234])]


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

    idempotency_key: IdempotencyKey = ""


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
class Order:
    """An accepted item."""

    id: OrderId
    sku: Sku
    quantity: Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote(Item):
    """What an item costs today."""

    unit_price_cents: Cents
    total_price_cents: Cents


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    """Orders, oldest first; `next_page_token` is empty on the last page."""

    orders: Sequence[Order]
    next_page_token: Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """How many orders were `created`, and how many were there already under their key."""

    created: Count
    existing: Count


class Watched(NamedTuple):
    """A new order, None in the first answer; a watch resumed by the token goes on after it."""

    order: Order | None
    resume_token: Token


class Placed(NamedTuple):
    """An order at its position: a number that grows with each order that a store accepts."""

    position: int
    order: Order


class OrderStore(Protocol):
    """What the domain needs from storage, which other processes may use at the same time."""

    async def add(self, order: Order, key: str) -> Order:
        """Keep `order` unless `key` (empty: none) is taken; return what is kept, in one step."""

    async def find(self, order_id: str) -> Order | None: ...

    async def remove(self, order_id: str) -> bool:
        """Forget the order and its key; False if there is none."""

    async def page(self, after: int, size: int) -> Sequence[Placed]:
        """Return up to `size` orders behind the position `after`, oldest first."""

    async def end(self) -> int:
        """Return the position of the newest order ever accepted."""

    def watch(self, after: int) -> AsyncGenerator[Placed, None]:
        """Yield the orders behind the position `after`, then each new one, oldest first."""


class Orders:
    """The rules, said once for both transports; `page_size` serves those who name none."""

    def __init__(self, store: OrderStore, page_size: int = 50) -> None:
        self._store = store
        self._page_size = page_size

    async def create(self, new: NewOrder) -> Order:
        """Accept an order; raises InvalidArgumentError, AlreadyExistsError."""
        order, _ = await self._created(new)
        return order

    async def get(self, order_id: str) -> Order:
        """Return one order; raises NotFoundError."""
        order = await self._store.find(order_id)
        if order is None:
            raise NotFoundError("no such order")  # an id of any length does not fit into a status
        return order

    async def delete(self, order_id: str) -> None:
        """Forget one order and its key; raises NotFoundError."""
        if not await self._store.remove(order_id):
            raise NotFoundError("no such order")

    async def list(self, request: PageRequest) -> OrderPage:
        """Return a page, stable while orders come and go; raises InvalidArgumentError."""
        size = checked(request).page_size or self._page_size
        found = await self._store.page(_position(request.page_token), size + 1)  # is there more?
        page = found[:size]
        next_token = _token(page[-1].position) if len(found) > size else ""
        return OrderPage(orders=[placed.order for placed in page], next_page_token=next_token)

    async def watch(self, request: WatchRequest) -> AsyncIterator[Watched]:
        """Return where the watch begins, then each new order until the service stops.

        Raises InvalidArgumentError at once, not in the midst of the stream.
        """
        token = checked(request).resume_token
        return self._watched(_position(token) if token else await self._store.end())

    async def import_many(self, news: AsyncIterable[NewOrder]) -> Imported:
        """Accept orders as they arrive; raises what `create` does, and keeps those before."""
        created = total = 0
        async for new in news:
            _, is_new = await self._created(new, total)
            created, total = created + is_new, total + 1
        return Imported(created=created, existing=total - created)

    async def quote(self, requests: AsyncIterable[QuoteRequest]) -> AsyncIterator[Quote]:
        """Answer each request with a price as it arrives; raises InvalidArgumentError."""
        index = 0
        async for request in requests:
            yield _quote(checked(request, index))
            index += 1

    async def _created(self, new: NewOrder, *path: Step) -> tuple[Order, bool]:
        content = checked(new, *path)
        order = Order(id=uuid4().hex, sku=content.sku, quantity=content.quantity)
        kept = await self._store.add(order, content.idempotency_key)
        if (kept.sku, kept.quantity) != (order.sku, order.quantity):
            wrong = FieldViolation(dotted(*path, "idempotency_key"), "belongs to another order")
            raise AlreadyExistsError(
                "the key belongs to an order with other content", fields=[wrong]
            )
        return kept, kept.id == order.id

    async def _watched(self, after: int) -> AsyncIterator[Watched]:
        yield Watched(None, _token(after))  # at once: the caller knows that it misses nothing
        async with aclosing(self._store.watch(after)) as news:
            async for placed in news:
                yield Watched(placed.order, _token(placed.position))


def _quote(item: Item) -> Quote:
    """Price an item: 1.00 to 99.99 a piece by the checksum of its sku, less for many pieces."""
    unit = 100 + zlib.crc32(item.sku.encode()) % 9_900
    percent = 100 - DISCOUNT_PERCENT if item.quantity >= DISCOUNT_FROM else 100
    return Quote(
        sku=item.sku,
        quantity=item.quantity,
        unit_price_cents=unit,
        total_price_cents=unit * item.quantity * percent // 100,
    )


def _token(position: int) -> str:
    return f"{position:016x}"


def _position(token: str) -> int:
    return int(token or "0", 16)
