"""A line as JSON: the Elastic Common Schema, as the spec of elastic/ecs-logging has it."""

from collections.abc import Mapping
from functools import lru_cache
from time import gmtime, strftime
from typing import Any

import orjson

from ..settings import Identity
from .line import Line

VERSION = "8.11.0"
LABEL_KEY = str.maketrans({".": "_", "*": "_", "\\": "_"})


def common(identity: Identity) -> bytes:
    """Return the end of each line: the fields that are the same in every one of this process."""
    fields = {
        "ecs.version": VERSION,
        "service.name": identity.name,
        "service.version": identity.version,
        "service.environment": identity.environment,
        "service.node.name": identity.instance,
        "event.dataset": f"{identity.name}.log",
    }
    return b"," + orjson.dumps(fields)[1:] + b"\n"


def as_json(line: Line) -> bytes:
    """Return the line as JSON with its end of line; made once."""
    if line.json is None:
        line.json = _encoded(_document(line))[:-1] + line.common
    return line.json


def stamp(at_ns: int) -> str:
    """Return a time in nanoseconds since 1970 as RFC 3339 writes it, to the microsecond."""
    second, rest_ns = divmod(at_ns, 10**9)
    return f"{_second(second)}.{str(10**6 + rest_ns // 1000)[1:]}Z"  # cheaper than :06d


@lru_cache(maxsize=4)  # many lines fall into one second
def _second(second: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))


def quoted(text: str | None) -> str:
    """Return a text as JSON has it."""
    try:
        return orjson.dumps(text).decode()
    except TypeError:
        return orjson.dumps(_plain(text)).decode()


def _document(line: Line) -> dict[str, Any]:
    document = {
        "@timestamp": stamp(int(line.at * 1e9)),
        "log.level": line.level.lower(),
        "message": line.message,
        "log.logger": line.logger,
        **line.fields,
    }
    if line.labels:
        document["labels"] = {str(k).translate(LABEL_KEY): v for k, v in line.labels.items()}
    if line.stack:
        document["error.stack_trace"] = line.stack
    return document


def _encoded(document: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(document, written)
    except TypeError:  # what JSON cannot hold: lone surrogates, integers of more than 64 bits
        return orjson.dumps(_plain(document), written)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    return written(value).encode("utf-8", "backslashreplace").decode()


def written(value: object) -> str:
    """Return the value as text; never raises."""
    try:
        return str(value)
    except Exception as error:  # whose __str__ is broken still has a line
        return f"<{type(value).__name__}: {type(error).__name__} in __str__>"
