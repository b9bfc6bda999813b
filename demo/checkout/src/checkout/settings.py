"""What this service can be told."""

import twinport


class Settings(twinport.Settings):
    """Everything that may differ between two deployments."""
