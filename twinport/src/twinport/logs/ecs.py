"""A line as JSON: the Elastic Common Schema, as the spec of elastic/ecs-logging has it."""

from collections.abc import Mapping
from time import gmtime, strftime
from typing import Any

import orjson

from ..redact import written
from ..settings import Identity
from .line import Line

VERSION = "8.11.0"
SECOND_NS = 10**9
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


class _Clock:
    """Writes times; many lines fall into one second, which is written once."""

    def __init__(self) -> None:
        self._second = 0, "1970-01-01T00:00:00"

    def stamp(self, at_ns: int) -> str:
        """Return a time in nanoseconds since 1970 as RFC 3339 has it, to the microsecond."""
        start_ns, second = self._second
        since_ns = at_ns - start_ns
        if not 0 <= since_ns < SECOND_NS:
            since_ns = at_ns % SECOND_NS
            second = strftime("%Y-%m-%dT%H:%M:%S", gmtime(at_ns // SECOND_NS))
            self._second = at_ns - since_ns, second
        return f"{second}.{str(10**6 + since_ns // 1000)[1:]}Z"  # cheaper than :06d


stamp = _Clock().stamp


def as_json(line: Line) -> bytes:
    """Return the line as JSON with its end of line; made once."""
    if line.json is None:
        line.json = _encoded(_document(line))[:-1] + line.common
    return line.json


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
