"""What is said of orders: the values, their bounds, and what they are called on both transports."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

from pydantic import BeforeValidator, ConfigDict, Field

LARGEST_PAGE = 1000  # orders
CURRENCY = "EUR"


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
