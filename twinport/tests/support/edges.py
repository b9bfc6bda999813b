"""The edge that both transports have, for tests that need no transport."""

from collections.abc import Callable, Mapping

from twinport.calls import Alarm, Call, CallSettings, Edge, Gate, Transport
from twinport.traces import Tracing


def edge(
    join_trace: Callable[[Call, Mapping[str, str]], None] = lambda call, headers: None,
) -> Edge:
    return Edge(join_trace, (), (), Gate(CallSettings()), Alarm(), timeout=30)


def opened(traces: Tracing, headers: Mapping[str, str], transport: Transport = "grpc") -> Call:
    """Open a call as its edge does."""
    return edge(traces.propagator.join).open(transport, headers)
