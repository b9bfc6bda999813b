"""Serves an application with hypercorn 0.18, hardened: no client holds, floods or outlives it.

Its protocols (`H11Protocol`, `H2Protocol`, `HTTPStream`) are used as they are, apart from what the
subclasses here say; its own edge (`TCPServer`, `TaskGroup`, `worker_serve`) is not used at all.
"""

from .server import HypercornServer

__all__ = ["HypercornServer"]
