"""What this service can be told."""

from .runtime.service import RuntimeSettings


class Settings(RuntimeSettings):
    """Everything that may differ between two deployments."""
