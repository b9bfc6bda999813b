"""Settings from TOML files, secret files, variables and the command line; mistakes are named."""

from .kinds import Duration, Identity, Port, Section, SettingsRoot, Size

__all__ = ["Duration", "Identity", "Port", "Section", "SettingsRoot", "Size"]
