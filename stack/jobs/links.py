"""Count who called whom, from the spans in Elasticsearch, as Zipkin's dependency view wants it.

Zipkin computes that for spans in memory only. Its own job for Elasticsearch
(zipkin-dependencies 2.6.4, the newest on Maven Central) refuses every version above 7.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
    index = f"zipkin-span-{day}"
    hits = list(_hits(server, day))
    spans = [hit["_source"] for hit in hits if hit["_index"] == index]
    before = [hit["_source"] for hit in hits if hit["_index"] != index]
    links = links_of(spans, before)
    server.bulk(_actions(f"zipkin-dependency-{day}", links))
    return len(links)


def links_of(spans: Sequence[Span], before: Sequence[Span] = ()) -> dict[Link, tuple[int, int]]:
    """Return how many calls there were, and how many of them failed.

    A call is a span of the side that was called, or one of the caller where that side has sent
    none, as a database. The caller may be among the spans `before`, whose own calls do not count.
    """
    calls: Counter[Link] = Counter()
    errors: Counter[Link] = Counter()
    for pair, failed in _calls(spans, _by_id([*before, *spans])):
        calls[pair] += 1
        errors[pair] += failed
    return {pair: (count, errors[pair]) for pair, count in calls.items()}


def _by_id(spans: Sequence[Span]) -> dict[SpanId, Span]:
    """Return the spans by id; of two that share one, as B3 allows, the caller's."""
    in_order = sorted(spans, key=lambda span: span["kind"] in ASKING)
    return {(span["traceId"], span["id"]): span for span in in_order}


def _calls(spans: Sequence[Span], by_id: Mapping[SpanId, Span]) -> Iterator[tuple[Link, bool]]:
    answered = set()
    for span in (span for span in spans if span["kind"] not in ASKING):
        caller = _caller(span, by_id)
        if caller is not None:
            answered.add((caller["traceId"], caller["id"]))
        parent = _name(caller, "local") or _name(span, "remote")
        yield from _call(parent, _name(span, "local"), span)
    for span in (span for span in spans if span["kind"] in ASKING):
        if (span["traceId"], span["id"]) not in answered:
            yield from _call(_name(span, "local"), _name(span, "remote"), span)


def _caller(span: Span, by_id: Mapping[SpanId, Span]) -> Span | None:
    """Return the caller's span, or that of the call in which it called: it may have sent no other.

    A call that is not sampled leaves the spans of both servers if it fails, and no client's.
    """
    same = by_id.get((span["traceId"], span["id"]))
    if same is not None and same["kind"] in ASKING:
        return same
    return by_id.get((span["traceId"], span.get("parentId", "")))


def _call(parent: str, child: str, span: Span) -> Iterator[tuple[Link, bool]]:
    if parent and child:
        yield Link(parent, child), "error" in span.get("tags", {})


def _name(span: Span | None, side: str) -> str:
    endpoint: Mapping[str, str] = (span or {}).get(f"{side}Endpoint", {})
    return endpoint.get("serviceName", "")


def _hits(server: Api, day: date) -> Iterator[dict[str, Any]]:
    """Yield the spans of calls, of a day and of the last minutes before it."""
    midnight = datetime.combine(day, time(), UTC)
    since_ms = int((midnight - OVERLAP).timestamp() * 1000)
    filters = [
        {"terms": {"kind": ["CLIENT", "SERVER", "PRODUCER", "CONSUMER"]}},
        {"range": {"timestamp_millis": {"gte": since_ms}}},
    ]
    index = f"zipkin-span-{day - timedelta(days=1)},zipkin-span-{day}"
    yield from server.every(index, {"query": {"bool": {"filter": filters}}, "_source": FIELDS})


def _actions(index: str, links: Mapping[Link, tuple[int, int]]) -> Iterator[object]:
    for pair, (calls, errors) in links.items():
        id_ = f"{pair.parent}|{pair.child}"
        counts = {"callCount": calls, "errorCount": errors}
        yield {"index": {"_index": index, "_id": id_}}
        yield {"id": id_, **pair._asdict(), **counts}
