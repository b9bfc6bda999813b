"""Count who called whom, from the spans in Elasticsearch, as Zipkin's dependency view wants it.

Zipkin computes that for spans in memory only. Its own job for Elasticsearch
(zipkin-dependencies 2.6.4, the newest on Maven Central) refuses every version above 7.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

from .api import Api

OVERLAP = timedelta(minutes=10)  # a call that begins before midnight may be answered after it
FIELDS = ["traceId", "id", "parentId", "kind", "localEndpoint", "remoteEndpoint", "tags.error"]
ASKING = {"CLIENT", "PRODUCER"}

Span = Mapping[str, Any]
SpanId = tuple[str, str]


class Link(NamedTuple):
    """Two services, the first of which calls the second."""

    parent: str
    child: str


def link(server: Api, day: date) -> int:
    """Write the links of a day, in place of those that were there; return how many there are."""
    links = links_of(_spans(server, day))
    index = f"zipkin-dependency-{day}"
    server.bulk(_actions(index, links))
    return len(links)


def links_of(spans: Iterable[Span]) -> dict[Link, tuple[int, int]]:
    """Return how many calls there were, and how many of them failed.

    A call is a span of the side that was called, or one of the caller where that side has sent
    none, as a database.
    """
    sides = _sides(spans)
    calls: Counter[Link] = Counter()
    errors: Counter[Link] = Counter()
    for pair, failed in _calls(*sides):
        calls[pair] += 1
        errors[pair] += failed
    return {pair: (count, errors[pair]) for pair, count in calls.items()}


def _sides(spans: Iterable[Span]) -> tuple[dict[SpanId, Span], list[Span]]:
    """Return the spans of those who call, by id, and of those who are called."""
    asking: dict[SpanId, Span] = {}
    answering = []
    for span in spans:
        if span["kind"] in ASKING:
            asking[span["traceId"], span["id"]] = span
        else:
            answering.append(span)
    return asking, answering


def _calls(asking: dict[SpanId, Span], answering: list[Span]) -> Iterator[tuple[Link, bool]]:
    unanswered = dict(asking)
    for span in answering:
        caller = _caller(span, asking)
        if caller is not None:
            unanswered.pop((caller["traceId"], caller["id"]), None)
        yield from _call(
            _name(caller, "local") or _name(span, "remote"), _name(span, "local"), span
        )
    for span in unanswered.values():
        yield from _call(_name(span, "local"), _name(span, "remote"), span)


def _caller(span: Span, asking: dict[SpanId, Span]) -> Span | None:
    """Return the caller's span, which with B3 may have the same id."""
    trace_id = span["traceId"]
    return asking.get((trace_id, span["id"])) or asking.get((trace_id, span.get("parentId", "")))


def _call(parent: str, child: str, span: Span) -> Iterator[tuple[Link, bool]]:
    if parent and child:
        yield Link(parent, child), "error" in span.get("tags", {})


def _name(span: Span | None, side: str) -> str:
    endpoint: Mapping[str, str] = (span or {}).get(f"{side}Endpoint", {})
    return endpoint.get("serviceName", "")


def _spans(server: Api, day: date) -> Iterator[Span]:
    midnight = datetime.combine(day, time(), UTC)
    since_ms = int((midnight - OVERLAP).timestamp() * 1000)
    query = {
        "bool": {
            "filter": [
                {"terms": {"kind": ["CLIENT", "SERVER", "PRODUCER", "CONSUMER"]}},
                {"range": {"timestamp_millis": {"gte": since_ms}}},
            ]
        }
    }
    index = f"zipkin-span-{day - timedelta(days=1)},zipkin-span-{day}"
    for hit in server.every(index, {"query": query, "_source": FIELDS}):
        if hit["_index"].endswith(str(day)) or hit["_source"]["kind"] in ASKING:
            yield hit["_source"]


def _actions(index: str, links: Mapping[Link, tuple[int, int]]) -> Iterator[object]:
    for pair, (calls, errors) in links.items():
        id_ = f"{pair.parent}|{pair.child}"
        counts = {"callCount": calls, "errorCount": errors}
        yield {"index": {"_index": index, "_id": id_}}
        yield {"id": id_, **pair._asdict(), **counts}
