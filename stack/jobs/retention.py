"""Delete what is older than KEEP_DAYS: indices by the day in their name, alerts by their time."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from .api import Api

INDICES = "service-logs-*,dead-letter-*,zipkin-*"
DAY = re.compile(r"[-.](\d{4})[-.](\d\d)[-.](\d\d)$")
ALERTS = "elastalert_status*"  # each of them holds the line that it is about


def delete_old(server: Api, keep_days: int) -> list[str]:
    """Delete and return the indices that no day of the last `keep_days` is in, and old alerts."""
    oldest = datetime.now(UTC).date() - timedelta(days=keep_days)
    indices = server.send("GET", f"/{INDICES}?expand_wildcards=open,hidden&filter_path=*.aliases")
    old = [name for name in indices or () if _day_of(name) < oldest]
    for name in old:
        server.found("DELETE", f"/{name}")  # another run may have been quicker
    server.bulk(_deletions(server, oldest))
    return old


def _day_of(index: str) -> date:
    day = DAY.search(index)
    return date(*map(int, day.groups())) if day else date.max


def _deletions(server: Api, oldest: date) -> Iterator[object]:
    before = {"range": {"@timestamp": {"lt": oldest.isoformat()}}}
    for alert in server.every(ALERTS, {"query": before, "_source": False}):
        yield {"delete": {"_index": alert["_index"], "_id": alert["_id"]}}
