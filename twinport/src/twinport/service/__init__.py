"""The whole: all parts put together, their settings, and the process that they live in."""

from .listeners import Ports
from .process import run
from .service import Service
from .settings import RuntimeSettings

__all__ = ["Ports", "RuntimeSettings", "Service", "run"]
