"""What the tests of a service need: it runs, is called, and what it told is read.

Each name loads when it is first used: a process is started, and Zipkin stood in for, with the
standard library alone. With pytest, `plugin` makes fixtures of the rest.
"""

from typing import TYPE_CHECKING

from ..extras import lazily

if TYPE_CHECKING:
    from .answers import (
        Refusal as Refusal,
        RefusedError as RefusedError,
        rest_answer as rest_answer,
        rest_events as rest_events,
        rest_exchange as rest_exchange,
        rpc_answer as rpc_answer,
        rpc_answers as rpc_answers,
    )
    from .duplex import Duplex as Duplex
    from .local import LocalService as LocalService, free as free, serving as serving
    from .openapi import (
        openapi_gaps as openapi_gaps,
        openapi_violations as openapi_violations,
    )
    from .plugin import Serving as Serving
    from .process import (
        FREE as FREE,
        NotLoggedError as NotLoggedError,
        Running as Running,
        own_environment as own_environment,
        running as running,
    )
    from .zipkin import FakeZipkin as FakeZipkin, free_port as free_port

__getattr__ = lazily(
    __name__,
    {
        ".answers": (
            "Refusal",
            "RefusedError",
            "rest_answer",
            "rest_events",
            "rest_exchange",
            "rpc_answer",
            "rpc_answers",
        ),
        ".duplex": ("Duplex",),
        ".local": ("LocalService", "free", "serving"),
        ".openapi": ("openapi_gaps", "openapi_violations"),
        ".plugin": ("Serving",),
        ".process": ("FREE", "NotLoggedError", "Running", "own_environment", "running"),
        ".zipkin": ("FakeZipkin", "free_port"),
    },
)
