"""What the orders can be told."""

from typing import Annotated

from pydantic import Field
from twinport import Section

from .model import LARGEST_PAGE


class OrdersSettings(Section):
    """How orders are listed."""

    page_size: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = 50
    """Orders in one page of a list."""
