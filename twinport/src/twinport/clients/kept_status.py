"""Keeps the status with which a server ends a call while requests are still sent.

The next request cannot be sent then, and grpc.aio puts INTERNAL in the place of the server's
status: https://github.com/grpc/grpc/issues/36066.
"""

from typing import Any

FAILED_TO_SEND = 'Failed "execute_batch"'  # of a call that has begun: its status always comes


def keep_status(call: Any) -> None:
    """Let `call` of grpc.aio, whose requests are a stream, wait for the status of its server."""
    if hasattr(call, "_cython_call"):  # the call of an interceptor has none, and holds one that has
        call._cython_call = _KeepingStatus(call._cython_call)


class _KeepingStatus:
    def __init__(self, call: Any) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def set_internal_error(self, text: str) -> None:
        if not text.startswith(FAILED_TO_SEND):
            self._call.set_internal_error(text)
