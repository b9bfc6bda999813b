"""Adds to an alert what its message says: the service, the operation, a trace id and its link.

Rules that count have no line of their own to show, so the latest that they counted is taken, or
the one that a rule's `example_filter` and `example_sort` choose.
"""

import os

from elastalert.enhancements import BaseEnhancement
from elastalert.util import elasticsearch_client, lookup_es_key

TRACE = "{zipkin}/zipkin/traces/{trace_id}"
VALUES = {
    "percentage": (1, "%"),
    "metric_event.duration_percentiles": (1e6, "ms"),
    "event.duration": (1e6, "ms"),
}


class Example(BaseEnhancement):
    """Takes what the match does not say from a line that it is about."""

    def process(self, match):
        """Add the fields alert_*."""
        line = match if lookup_es_key(match, "trace.id") else self._line(match)
        trace_id = _text(line, "trace.id")
        link = TRACE.format(zipkin=os.environ["ZIPKIN_URL"], trace_id=trace_id)
        match["alert_rule"] = self.rule["name"]
        match["alert_service"] = _text(line, "service.name") or match.get("key", "")
        match["alert_operation"] = self._operation(match, line, trace_id)
        match["alert_value"] = _value(match)
        match["alert_trace_id"] = trace_id
        match["alert_link"] = link if trace_id else ""

    def _operation(self, match, line, trace_id):
        """Return the route or method; a line that an error left has none, the access line has."""
        named = _text(match, "event.action") or _text(line, "event.action")
        if named or not trace_id:
            return named
        same_service = {"term": {"service.name": _text(line, "service.name")}}
        same_trace = {"term": {"trace.id": trace_id}}
        call = self._newest([same_service, same_trace, {"exists": {"field": "event.action"}}])
        return _text(call, "event.action")

    def _line(self, match):
        """Return a line of the service, and of the operation, that the match names."""
        keys = self.rule.get("compound_query_key") or [self.rule["query_key"]]
        named = [{"term": {key: lookup_es_key(match, key) or match.get("key")}} for key in keys]
        filters = [*self.rule["filter"], *self.rule.get("example_filter", []), *named]
        return self._newest(filters, self.rule.get("example_sort", "@timestamp"))

    def _newest(self, filters, sort="@timestamp"):
        """Return the line that is last in an order, or an empty one.

        ElastAlert's client wants no list below `filter`.
        """
        query = {"query": {"bool": {"must": filters}}, "sort": [{sort: "desc"}], "size": 1}
        client = elasticsearch_client(self.rule)
        found = client.search(index=self.rule["index"], body=query, ignore_unavailable=True)
        hits = found["hits"]["hits"]
        return hits[0]["_source"] if hits else {}


def _text(line, field):
    return str(lookup_es_key(line, field) or "")


def _value(match):
    for field, (divisor, unit) in VALUES.items():
        number = match.get(field)
        if number is not None:
            return f"{number / divisor:.1f} {unit}"
    return _text(match, "error.type")
