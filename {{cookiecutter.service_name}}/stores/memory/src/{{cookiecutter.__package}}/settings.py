"""What this service can be told: the sections that every service has, and those of its features."""

import twinport
from pydantic import Field

from .orders.settings import OrdersSettings


class Settings(twinport.Settings):
    """Everything that may differ between two deployments."""

    # made when first needed, so that `config check` can name a field that pydantic cannot fill
    orders: OrdersSettings = Field(default_factory=OrdersSettings)
    """The orders."""
