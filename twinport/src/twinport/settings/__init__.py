"""Settings from TOML files, secret files, variables and the command line; mistakes are named.

Public are the types that fields of a service's own settings may have: `Duration`, `Size`, `Port`,
`Url`.

To read in this order: `types` is for models, `loading` says where to look and has pydantic check
it all, `layers` keep what each place says, `mistakes` turns what is wrong into lines, and
`reference` shows and describes settings. All of them ask `introspection` about types.
"""

from .loading import Loaded as Loaded, Sources as Sources, changed as changed, load as load
from .mistakes import mistake as mistake
from .types import (
    Duration,
    Identity as Identity,
    Port,
    Section as Section,
    SettingsRoot as SettingsRoot,
    Size,
    Url,
)

__all__ = ["Duration", "Port", "Size", "Url"]
