"""Signals, heard in a thread of their own: also while something blocks the event loop."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

END = 0  # the number of no signal


class Signals:
    """Calls a handler for each signal that it is told to follow; forked children follow none.

    CPython writes the number of a signal to its wakeup descriptor as soon as it comes. A handler
    of `signal.signal` waits for the main thread to return to Python, one of the loop for the loop.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[], None]] = {}
        self._urgent: dict[int, Callable[[], None]] = {}
        self._before: dict[int, Any] = {}
        self._hearing, self._wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        self._next = -1
        self._forking = threading.local()

    def on(
        self, number: int, handler: Callable[[], None], urgent: Callable[[], None] | None = None
    ) -> None:
        """Call `handler`, which must be quick, in the thread of signals at each `number`.

        `urgent` is called in the main thread, too: code in C may keep Python's lock, so that no
        thread runs, and look at signals all the same, as regular expressions do.
        """
        self._handlers[number] = handler
        if urgent:
            self._urgent[number] = urgent
        self._before.setdefault(number, signal.signal(number, self._in_main_thread))
        signal.siginterrupt(number, False)  # few libraries in C know what to do with EINTR

    def listen(self) -> bool:
        """Take the wakeup descriptor; return whether it was somebody else's, who is told next."""
        ours = self._wakeup.fileno()
        before = signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
        if before != ours:
            self._next = before
        return before != ours

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Hear of signals before the event loop that runs, which is told of them, too."""
        self.listen()
        try:
            yield
        finally:
            self._next = -1

    def hear(self) -> None:
        """Call the handlers until the end."""
        with self._hearing, self._wakeup:
            while (number := self._hearing.recv(1)[0]) != END:
                self._dispatch(number)

    def close(self) -> None:
        """Put back the handlers of before, and end the thread."""
        for number in self._ours():
            signal.signal(number, self._before[number] or signal.SIG_DFL)
        self._before.clear()
        self._handlers.clear()  # the hooks of forks stay, and would keep alive what these know
        self._urgent.clear()
        signal.set_wakeup_fd(self._next)
        with suppress(OSError):  # in a child, where there is no such thread
            self._wakeup.send(bytes([END]))

    def guard_forks(self) -> None:
        """Let a signal to a forked child do what it does in any process, from the first moment on.

        The child shares the wakeup descriptor, so it could tell the service of its own signals.
        """
        os.register_at_fork(
            before=self._hold, after_in_parent=self._release, after_in_child=self._forget
        )

    def _dispatch(self, number: int) -> None:
        with suppress(OSError):  # nobody else listens, or has no time
            os.write(self._next, bytes([number]))
        handler = self._handlers.get(number)
        if handler:
            handler()

    def _in_main_thread(self, number: int, _frame: object) -> None:
        if self.listen():  # the thread has not heard of this one
            self._wakeup.send(bytes([number]))
        urgent = self._urgent.get(number)
        if urgent:
            urgent()

    def _ours(self) -> list[int]:
        return [each for each in self._before if signal.getsignal(each) == self._in_main_thread]

    def _hold(self) -> None:
        self._forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._before)

    def _release(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._forking.mask)

    def _forget(self) -> None:
        if self._wakeup.fileno() >= 0:
            signal.set_wakeup_fd(-1)
        for number in self._ours():
            signal.signal(number, signal.SIG_DFL)  # KeyboardInterrupt would unwind the service
        self._hearing.close()
        self._wakeup.close()
        self._release()


@contextmanager
def hearing() -> Iterator[Signals]:
    """Hear of signals meanwhile; only the main thread may ask for it."""
    signals = Signals()
    signals.guard_forks()
    signals.listen()
    thread = threading.Thread(target=signals.hear, name="signals", daemon=True)
    thread.start()
    try:
        yield signals
    finally:
        signals.close()
        thread.join()


def call_in(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: Any) -> None:
    """Let `loop` call `callback` soon, from whatever thread; one that is closed does not."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *args)
