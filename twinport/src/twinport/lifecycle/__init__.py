"""Start in order, watch, stop in order, and end in any case."""

from .open_files import accepted, allow_many_files, open_files_watched
from .servers import Server, Servers, bind, check_free, kept_from_children
from .settings import LifecycleSettings
from .signals import Signals, call_in, hearing
from .stop import Background, LastResort, Stop

__all__ = [
    "Background",
    "LastResort",
    "LifecycleSettings",
    "Server",
    "Servers",
    "Signals",
    "Stop",
    "accepted",
    "allow_many_files",
    "bind",
    "call_in",
    "check_free",
    "hearing",
    "kept_from_children",
    "open_files_watched",
]
