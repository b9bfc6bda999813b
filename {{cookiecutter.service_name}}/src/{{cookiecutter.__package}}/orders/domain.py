"""What may be done with orders; knows no transport and no storage."""

import zlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Protocol
from uuid import uuid4

from twinport import AlreadyExistsError, FieldViolation, NotFoundError, checked, dotted

from .model import (
    Imported,
    Item,
    NewOrder,
    Order,
    OrderPage,
    PageRequest,
    Placed,
    Quote,
    QuoteRequest,
    Watched,
    WatchRequest,
)

DISCOUNT_FROM = 100  # pieces
DISCOUNT_PERCENT = 10


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

    async def _created(self, new: NewOrder, *path: int) -> tuple[Order, bool]:
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
