"""Fences around hypercorn 0.18: no client holds, floods or outlives the service.

Its protocols (`H11Protocol`, `H2Protocol`, `HTTPStream`) are used as they are, apart from what the
subclasses here say; its own edge (`TCPServer`, `TaskGroup`, `worker_serve`) is not used at all.
"""
