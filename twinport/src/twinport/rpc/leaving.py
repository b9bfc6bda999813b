"""Clients that leave while an answer waits to be sent: to grpc a failure, to us none."""

import logging

import grpc

LEFT = grpc.aio.InternalError  # what sending raises then, if it is not cancelled before
LOGGER = logging.getLogger("grpc._cython.cygrpc")


def hear_less() -> None:
    """Log at DEBUG what grpc logs as an error, with its stack, of each client that leaves so."""
    LOGGER.addFilter(_as_no_news)  # twice is once


def _as_no_news(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], LEFT):
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return True
