"""The way of spans out of this process: queue, exporters, and what people hear about losses."""

from .destination import make_outbox
from .outbox import Outbox

__all__ = ["Outbox", "make_outbox"]
