"""One call that this service makes to another, as logs and metrics see it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..calls.call import Transport


@dataclass(slots=True, eq=False)
class ClientCall:
    """Filled in while the call runs; `duration_ns` is known when it has ended.

    `client` is the name in the settings, `method` is HTTP's or gRPC's `package.Service/Method`,
    `code` is from google/rpc/code.proto for both transports, `status` is HTTP's, 0 for gRPC or
    where no answer came. `timeout_s` is how long the call might take. The bytes are those of all
    messages of gRPC, or of all bodies of HTTP, where a call that is tried again has several.
    """

    client: str
    transport: Transport
    method: str
    timeout_s: float
    is_stream: bool = False
    status: int = 0
    code: str = "OK"
    started_ns: int = field(default_factory=time.perf_counter_ns)
    duration_ns: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0

    def has_received(self, size: int) -> None:
        """Count what has come, in bytes."""
        self.received_bytes += size

    def has_sent(self, size: int) -> None:
        """Count what was handed on, in bytes."""
        self.sent_bytes += size


ClientObserver = Callable[[ClientCall], None]


def tell(observers: Sequence[ClientObserver], call: ClientCall) -> None:
    """Tell everybody that `call` has ended."""
    call.duration_ns = time.perf_counter_ns() - call.started_ns
    for observe in observers:
        observe(call)
