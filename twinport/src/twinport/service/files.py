"""How many files, and that is connections, the process may have open."""

import resource
from contextlib import suppress


def allow_many_files() -> None:
    """Raise the soft limit to the hard one, as programs in Go do: it is for who uses select(2).

    A port at the limit accepts and closes, the management port too.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS says that it is infinite, and grants less
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
