"""Signals while a service starts: SIGINT and SIGTERM end it, also as PID 1 of a container.

A service's package imports this before all else. Python would raise KeyboardInterrupt, which an
import may swallow, and the kernel keeps from PID 1 every signal that it does not handle
(pid_namespaces(7)).
"""

import os
import signal
import sys

ENDING = (signal.SIGINT, signal.SIGTERM)


def is_program() -> bool:
    """Tell whether Python was started to run the package that imports this now.

    By its command, or by `python -m`: argv[0] is "-m" while Python looks for the module.
    """
    command = os.path.basename(sys.argv[0])
    spec = getattr(sys.modules.get(command.replace("-", "_")), "__spec__", None)
    return command == "-m" or getattr(spec, "_initializing", False)


def end_by_signals() -> None:
    """Let ENDING signals end the process at once, until a service follows them."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell's background has SIGINT
            signal.signal(number, _end if os.getpid() == 1 else signal.SIG_DFL)


def _end(number: int, _frame: object) -> None:
    os._exit(128 + number)  # what a shell says of a process that a signal has ended


if is_program():
    end_by_signals()
