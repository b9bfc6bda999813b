"""What this service can be told: the sections that every service has, and those of its features."""

from .orders.settings import OrdersSettings
from .runtime.service import RuntimeSettings


class Settings(RuntimeSettings):
    """Everything that may differ between two deployments."""

    orders: OrdersSettings = OrdersSettings()
    """The orders."""
