"""The management port: for probes and operators, never for callers."""

from .app import management_app
from .settings import ManagementSettings

__all__ = ["ManagementSettings", "management_app"]
