"""Settings from TOML files, secret files, variables and the command line; mistakes are named.

Public are the types that fields of a service's own settings may have: `Duration`, `Size`, `Port`,
`Url`.

To read in this order: `sources` says where to look, `read` makes a layer of each place (`layers`
are of files, `texts` of variables and the like), `load` has pydantic merge and check them all, and
`mistakes` turns what is wrong into lines. `shapes` answers what a type can hold, `paths` walks what
it does hold, `masks` hides secrets. The rest describes: `kinds` and `quantities` are for models,
`show`, `schema` and `reference` for people.
"""

from .load import Loaded as Loaded, changed as changed, load as load
from .mistakes import mistake as mistake
from .sources import Sources as Sources
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
