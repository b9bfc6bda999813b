"""Settings from TOML files, secret files, variables and the command line; mistakes are named."""

from .kinds import Duration, Identity, Port, Section, SettingsRoot, Size, Url
from .load import Loaded, changed, load
from .mistakes import mistake
from .sources import Sources

__all__ = [
    "Duration",
    "Identity",
    "Loaded",
    "Port",
    "Section",
    "SettingsRoot",
    "Size",
    "Sources",
    "Url",
    "changed",
    "load",
    "mistake",
]
