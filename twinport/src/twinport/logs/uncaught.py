"""Exceptions that nobody caught: in threads, in tasks, and where none can be raised."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import FatalError, SettingsError
from .line import Line, now

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

UNCAUGHT, ASYNCIO = "uncaught", "asyncio"
LoopHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]


class Uncaught:
    """The hooks of the interpreter, each leaving one line."""

    def __init__(self, emit: Callable[[Line], None]) -> None:
        self._emit = emit

    def in_main(self, error: Exception) -> None:
        """Say what ends the process; `sys.excepthook` would come when the sinks are closed."""
        if not isinstance(error, FatalError | SettingsError):  # the command line says those
            self._say("uncaught exception", error)

    def in_thread(self, args: threading.ExceptHookArgs) -> None:
        """Take the place of `threading.excepthook`."""
        if not issubclass(args.exc_type, SystemExit):
            name = args.thread.name if args.thread else "that is gone"
            self._say(f"uncaught exception in thread {name}", args.exc_value)

    def unraisable(self, args: "UnraisableHookArgs") -> None:
        """Take the place of `sys.unraisablehook`: `__del__` and the like."""
        self._say(f"{args.err_msg or 'exception ignored in'} {args.object!r}", args.exc_value)

    def _say(self, message: str, error: BaseException | None) -> None:
        line = now("CRITICAL", UNCAUGHT, message)
        line.error = error
        self._emit(line)


@contextmanager
def catching(emit: Callable[[Line], None]) -> Iterator[None]:
    """Log what nobody caught, also in the body; the hooks are as they were afterwards."""
    before = threading.excepthook, sys.unraisablehook
    hooks = Uncaught(emit)
    threading.excepthook, sys.unraisablehook = hooks.in_thread, hooks.unraisable
    try:
        yield
    except Exception as error:
        hooks.in_main(error)
        raise
    finally:
        threading.excepthook, sys.unraisablehook = before


def loop_handler(emit: Callable[[Line], None]) -> LoopHandler:
    """Return an exception handler for an event loop: tasks that nobody awaited, and the like."""

    def handle(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        line = now("ERROR", ASYNCIO, context["message"])
        line.error = context.get("exception")
        line.labels = {k: repr(v) for k, v in context.items() if k not in {"message", "exception"}}
        emit(line)

    return handle
