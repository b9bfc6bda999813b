"""Lines of services, moved in time and put where Logstash puts them."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from stack.jobs.api import Api

from .traffic import Line


def at(moment: datetime, lines: Iterable[Line]) -> list[Line]:
    """Return the lines as if the last one had been written at a moment."""
    lines = list(lines)
    shift = moment - max(map(time_of, lines))
    return [line | {"@timestamp": (time_of(line) + shift).isoformat()} for line in lines]


def time_of(line: Line) -> datetime:
    return datetime.fromisoformat(line["@timestamp"])


def index(server: Api, lines: Iterable[Line]) -> None:
    """Put lines where Logstash does, and let them be found; raises ApiError."""
    server.bulk(_actions(lines))
    server.send("POST", "/service-logs-*/_refresh")


def _actions(lines: Iterable[Line]) -> Iterator[object]:
    for line in lines:
        day = time_of(line).astimezone(UTC).strftime("%Y.%m.%d")
        yield {"create": {"_index": f"service-logs-{day}"}}
        yield line
