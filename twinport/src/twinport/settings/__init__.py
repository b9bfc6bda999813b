"""Settings from TOML files, secret files, variables and the command line; mistakes are named.

To read in this order: `sources` says where to look, `read` makes a layer of each place (`layers`
are of files, `texts` of variables and the like), `load` has pydantic merge and check them all, and
`mistakes` turns what is wrong into lines. `shapes` answers what a type can hold, `paths` walks what
it does hold, `masks` hides secrets. The rest describes: `kinds` and `quantities` are for models,
`show`, `schema` and `reference` for people.
"""

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
