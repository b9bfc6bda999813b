"""A port for who leaves it for a moment and comes back, as a service that is started again does."""

import random
import socket
from contextlib import suppress

CHOSEN = range(10_000, 32_768)  # below those that a system gives to whoever connects


def lasting_port() -> int:
    """Return a port that is free now, and that nobody is given meanwhile for a connection."""
    while True:
        port = random.choice(CHOSEN)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
