"""Logs that people and machines can read, to any number of sinks, none of which holds a request."""

from .install import logging_to
from .logs import Logs
from .settings import LogsSettings

__all__ = ["Logs", "LogsSettings", "logging_to"]
