"""Start in order, watch, stop in order, and end in any case."""

from .background import Background
from .forks import kept_from_children
from .last_resort import LastResort
from .server import Server, bind, check_free
from .servers import Servers
from .settings import LifecycleSettings
from .signals import Signals, call_in, hearing
from .stop import Stop

__all__ = [
    "Background",
    "LastResort",
    "LifecycleSettings",
    "Server",
    "Servers",
    "Signals",
    "Stop",
    "bind",
    "call_in",
    "check_free",
    "hearing",
    "kept_from_children",
]
