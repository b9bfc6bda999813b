"""OpenTelemetry's instrumentation of each library that has one installed is used without a line.

As the command `opentelemetry-instrument` does it, but for what has spans of ours already.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from loguru import logger
from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts
from opentelemetry.instrumentation.environment_variables import (
    OTEL_PYTHON_DISABLED_INSTRUMENTATIONS,
)

VARIABLE = "OTEL_SEMCONV_STABILITY_OPT_IN"
STABLE = "http"


def choose_stable_names() -> None:
    """Tell them; they read it once, when the first one begins to work."""
    chosen = [each.strip() for each in os.environ.get(VARIABLE, "").split(",")]
    others = [each for each in chosen if each and not each.startswith(STABLE)]
    os.environ[VARIABLE] = ",".join([STABLE, *others])


GROUP = "opentelemetry_instrumentor"
GRPC = ("grpc_server", "grpc_aio_client", "grpc_aio_server")  # blocking clients have none of ours
OURS = frozenset({"asgi", "starlette", "fastapi", "httpx", "httpx2", "logging", *GRPC})
ALL = "*"


@contextmanager
def instrumented(variables: Mapping[str, str]) -> Iterator[None]:
    """Use every instrumentation there is until the end; one that fails is a line in the log."""
    named = variables.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, "").split(",")
    disabled = OURS.union(name.strip() for name in named)
    found = [each for each in entry_points(group=GROUP) if disabled.isdisjoint({each.name, ALL})]
    with ExitStack() as undo:
        for each in found:
            _use(each, undo)
        yield


def _use(found: EntryPoint, undo: ExitStack) -> None:
    try:
        if _fits(found):
            choose_stable_names()
            instrumentor = found.load()()
            instrumentor.instrument(skip_dep_check=True)
            undo.callback(_end, instrumentor)
            logger.debug("traces: {} is traced", found.name)
    except Exception as error:  # whatever it does, the service can do without
        logger.warning("traces: {} is not traced: {}: {}", found.name, type(error).__name__, error)


def _fits(found: EntryPoint) -> bool:
    """Tell whether the library itself is there, in a version that can be instrumented."""
    conflict = get_dist_dependency_conflicts(found.dist) if found.dist else None
    if conflict and conflict.found:
        logger.warning("traces: {} is not traced: {}", found.name, conflict)
    return conflict is None


def _end(instrumentor: Any) -> None:
    with suppress(Exception):
        instrumentor.uninstrument()
