"""What a purchase is; knows no transport, and of the order book only what a shop can do."""

from dataclasses import dataclass
from typing import Protocol

from loguru import logger


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPurchase:
    """What a customer wants; the shop knows what there is and how much of it."""

    sku: str
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What was ordered, and for how much."""

    order_id: str
    total_price_cents: int


class Shop(Protocol):
    """Where orders go."""

    async def price(self, sku: str, quantity: int) -> int:
        """Return what all pieces cost, in hundredths of one EUR; raises InvalidArgumentError."""

    async def order(self, sku: str, quantity: int) -> str:
        """Order an item and return the id of the order; raises InvalidArgumentError."""


class Purchases:
    """The rules, said once for both transports."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def create(self, new: NewPurchase) -> Purchase:
        """Order an item at today's price; raises InvalidArgumentError."""
        cents = await self._shop.price(new.sku, new.quantity)
        order_id = await self._shop.order(new.sku, new.quantity)
        logger.info("sold {} {} for {} cents", new.quantity, new.sku, cents)
        return Purchase(order_id=order_id, total_price_cents=cents)
