"""Logs that people and machines can read, to any number of sinks, none of which holds a request."""

from .logs import Logs, logging_to
from .settings import LogsSettings

__all__ = ["Logs", "LogsSettings", "logging_to"]
