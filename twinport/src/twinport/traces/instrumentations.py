"""Starts OpenTelemetry's instrumentation of each library that has one installed.

As the command `opentelemetry-instrument` does it, but for what has spans of ours already: where
that command has been there before us, its part in these is withdrawn.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from loguru import logger
from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts
from opentelemetry.instrumentation.environment_variables import (
    OTEL_PYTHON_DISABLED_INSTRUMENTATIONS,
)

GROUP = "opentelemetry_instrumentor"  # of entry points
GRPC = ("grpc_server", "grpc_aio_client", "grpc_aio_server")  # blocking clients have none of ours
OURS = frozenset({"asgi", "starlette", "fastapi", "httpx", "httpx2", "logging", *GRPC})
ALL = "*"


@contextmanager
def instrumented(variables: Mapping[str, str]) -> Iterator[None]:
    """Use every instrumentation there is until the end; one that fails is a line in the log."""
    names = variables.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, "").split(",")
    disabled = OURS.union(name.strip() for name in names)
    there = entry_points(group=GROUP)
    for entry in there:
        if entry.name in OURS:
            _withdraw(entry)
    entries = [each for each in there if disabled.isdisjoint({each.name, ALL})]
    with ExitStack() as undo:
        for entry in entries:
            _use(entry, undo)
        yield


def _withdraw(entry: EntryPoint) -> None:
    """End what has patched a library in front of us, or each of its calls has two spans."""
    if entry.module not in sys.modules:
        return
    instrumentor = entry.load()()
    if instrumentor.is_instrumented_by_opentelemetry:
        _end(instrumentor)
        logger.debug("traces: {} was traced, and is by us from now on", entry.name)


def _use(entry: EntryPoint, undo: ExitStack) -> None:
    try:
        if not _fits(entry):
            return
        choose_stable_names()
        instrumentor = entry.load()()
        if not instrumentor.is_instrumented_by_opentelemetry:  # else whoever did it may end it
            instrumentor.instrument(skip_dep_check=True)
            undo.callback(_end, instrumentor)
        logger.debug("traces: {} is traced", entry.name)
    except Exception as error:  # whatever it does, the service can do without
        logger.warning("traces: {} is not traced: {}: {}", entry.name, type(error).__name__, error)


def _fits(entry: EntryPoint) -> bool:
    """Tell whether the library itself is there, in a version that can be instrumented."""
    conflict = get_dist_dependency_conflicts(entry.dist) if entry.dist else None
    if conflict and conflict.found:
        logger.warning("traces: {} is not traced: {}", entry.name, conflict)
    return conflict is None


def _end(instrumentor: Any) -> None:
    with suppress(Exception):
        instrumentor.uninstrument()


STABILITY = "OTEL_SEMCONV_STABILITY_OPT_IN"
STABLE = "http"


def choose_stable_names() -> None:
    """Let them name attributes as the stable conventions do; the first that begins reads it."""
    chosen = [each.strip() for each in os.environ.get(STABILITY, "").split(",")]
    others = [each for each in chosen if each and not each.startswith(STABLE)]
    os.environ[STABILITY] = ",".join([STABLE, *others])
