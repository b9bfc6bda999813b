"""A log line for each call to another service; those that went well are for debugging only."""

from loguru import logger

from .call import ClientCall

ANSWERS = frozenset(
    (  # which the other service has given on purpose
        "OK",
        "CANCELLED",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
    )
)


def log(call: ClientCall) -> None:
    """Log a call that has ended; a ClientObserver."""
    level = "DEBUG" if call.code in ANSWERS else "WARNING"
    told = {"event.duration": call.duration_ns, "rpc.method": call.method}
    line = "called {} {}: {} after {:.1f} ms"
    logger.bind(**told).log(level, line, call.client, call.method, call.code, _ms(call))


def _ms(call: ClientCall) -> float:
    return call.duration_ns / 1e6
