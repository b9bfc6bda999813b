"""Start in order, watch, stop in order, and end in any case."""

from .background import Background
from .last_resort import LastResort
from .server import Server, bind, check_free
from .servers import Servers
from .settings import LifecycleSettings
from .stop import Stop

__all__ = [
    "Background",
    "LastResort",
    "LifecycleSettings",
    "Server",
    "Servers",
    "Stop",
    "bind",
    "check_free",
]
