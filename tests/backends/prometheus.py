"""A real Prometheus server that scrapes one target."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from tools.backend import started
from twinport.testing import free_port

START_S, ANSWER_S = 180, 10
CONFIG = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: service
    static_configs:
      - targets: ["{target}"]
"""


class Prometheus:
    """A started server."""

    def __init__(self, port: int) -> None:
        self._at = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[float]:
        """Return the present values, one for each series."""
        return [float(each["value"][1]) for each in self._ask("query", expression)["result"]]

    def exemplars(self, expression: str) -> set[str]:
        """Return the trace ids that its series have, of the last hour."""
        now = time.time()
        series = self._ask("query_exemplars", expression, start=now - 3600, end=now)
        return {found["labels"]["trace_id"] for each in series for found in each["exemplars"]}

    def _ask(self, what: str, expression: str, **more: float) -> Any:
        asked = urlencode({"query": expression, **more})
        with urlopen(f"{self._at}/api/v1/{what}?{asked}", timeout=ANSWER_S) as answer:
            return json.load(answer)["data"]

    def is_ready(self) -> bool:
        """Tell whether it has started."""
        try:
            with urlopen(f"{self._at}/-/ready", timeout=ANSWER_S):
                return True
        except OSError:
            return False


@contextmanager
def prometheus(target: str, folder: Path) -> Iterator[Prometheus]:
    """Keep a server running whose data are in `folder`; raises TimeoutError."""
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(target=target), encoding="utf-8")
    server = Prometheus(port := free_port())
    command = (
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
    )
    with started(command, server.is_ready, START_S):
        yield server
