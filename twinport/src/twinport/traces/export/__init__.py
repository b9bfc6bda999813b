"""The way of spans out of this process: queue, exporters, and what people hear about losses."""

from .destination import make_outbox
from .outbox import Bounds, Outbox

__all__ = ["Bounds", "Outbox", "make_outbox"]
