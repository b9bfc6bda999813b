"""Settings of the sample: those that every service has, and a section of its own."""

from typing import Annotated

from pydantic import Field

import twinport
from twinport import Section

from .orders.domain import LARGEST_PAGE


class OrdersSettings(Section):
    """How orders are listed."""

    page_size: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = 50
    """Orders in one page of a list."""


class Settings(twinport.Settings):
    """Everything that may differ between two deployments."""

    orders: OrdersSettings = Field(default_factory=OrdersSettings)
    """The orders."""
