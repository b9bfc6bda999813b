"""A log line for each call to another service; those that went well are for debugging only."""

from loguru import logger

from ..errors import row_of
from .call import ClientCall


def log(call: ClientCall) -> None:
    """Log a call that has ended; a ClientObserver."""
    told = {"event.duration": call.duration_ns, "rpc.method": call.method}
    line = "called {} {}: {} after {:.1f} ms"
    level = row_of(call.code).client_level
    logger.bind(**told).log(level, line, call.client, call.method, call.code, _ms(call))


def _ms(call: ClientCall) -> float:
    return call.duration_ns / 1e6
