"""Take a picture of the demo's trace on the dashboard of a real Zipkin, in headless Chromium."""

import subprocess
import sys
import tempfile
from pathlib import Path

from demo.purchase import buy_over_rest
from demo.services import SERVICES, installed, serving
from demo.trace import problem_of

from .zipkin import zipkin

TEMPLATE = Path(__file__).parents[1]
OFFLINE = "--disable-background-networking --disable-component-update --disable-sync --no-first-run"
LOOKS = "--headless --no-sandbox --disable-gpu --disable-quic --hide-scrollbars"
SETTLE_MS = 15_000  # of the page's own time; the dashboard fetches the trace after it has loaded


def main() -> None:
    """Write the picture to the file that is named on the command line."""
    with zipkin() as server, serving(*installed(TEMPLATE / ".build/demo"), server.endpoint) as both:
        port = both[0].ports().http
        buy_over_rest(port)  # the first request opens the connections
        trace_id = buy_over_rest(port)
        server.trace(trace_id, lambda spans: spans and not problem_of(spans, SERVICES))
        picture(f"{server.url}/traces/{trace_id}", Path(sys.argv[1]).resolve())


def picture(url: str, path: Path) -> None:
    """Look at one page in a browser that has never been used before."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                "chromium",
                *OFFLINE.split(),
                *LOOKS.split(),
                f"--user-data-dir={profile}",
                "--window-size=1400,800",
                f"--virtual-time-budget={SETTLE_MS}",
                f"--screenshot={path}",
                url,
            ],
            check=True,
            stderr=subprocess.DEVNULL,
            timeout=120,
        )


if __name__ == "__main__":
    main()
