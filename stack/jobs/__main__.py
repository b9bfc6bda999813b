"""Delete what is old and count who called whom, now and every EVERY_MINUTES; 0 is only now."""

import os
import time
from datetime import UTC, datetime, timedelta
from urllib.error import URLError

from .api import Api, ApiError, elasticsearch
from .links import link
from .retention import delete_old


def main() -> None:
    """Work until somebody stops it; a server that is away for a while is told, and no reason."""
    server = elasticsearch("keeper", "KEEPER_PASSWORD")
    minutes = float(os.environ.get("EVERY_MINUTES", "60"))
    keep_days = int(os.environ["KEEP_DAYS"])
    if not minutes:
        once(server, keep_days)
    while minutes:
        try:
            once(server, keep_days)
        except (ApiError, URLError, OSError) as error:
            print(f"not now: {error}", flush=True)
        time.sleep(minutes * 60)


def once(server: Api, keep_days: int) -> None:
    """Do both, the links also of yesterday: spans may come late."""
    deleted = delete_old(server, keep_days)
    today = datetime.now(UTC).date()
    count = sum(link(server, day) for day in (today - timedelta(days=1), today))
    print(f"deleted {len(deleted)} indices {deleted}, wrote {count} links", flush=True)


if __name__ == "__main__":
    main()
