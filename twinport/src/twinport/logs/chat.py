"""A hook that sends lines to a chat: any web hook that takes {"text": "..."} as Slack's does.

[logs.sinks.chat]
kind = "hook"
callable = "twinport.logs.chat:to_chat"
level = "ERROR"
options = { url = "https://...", per_minute = 6 }  # the url is a secret: set it by a variable
"""

import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import orjson
from pydantic import AnyHttpUrl, Field, validate_call

from ..redact import visible

TIMEOUT_S = 5.0
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy of the environment


class Chat:
    """Sends at most `per_minute` messages a minute, and says how many lines it left out."""

    def __init__(self, url: str, per_minute: int, clock: Callable[[], float]) -> None:
        self._url, self._clock = url, clock
        self._most, self._per_s = float(per_minute), per_minute / 60
        self._left, self._at = self._most, clock()
        self._left_out = 0

    def __call__(self, line: Mapping[str, Any]) -> None:
        if not self._may_send():
            self._left_out += 1
            return
        left_out, self._left_out = self._left_out, 0
        body = orjson.dumps({"text": text_of(line, left_out)})
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        DIRECT.open(request, timeout=TIMEOUT_S).close()

    def _may_send(self) -> bool:
        """Take a token from a bucket that holds as many as a minute allows."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@validate_call
def to_chat(url: AnyHttpUrl, per_minute: Annotated[int, Field(ge=1)] = 6) -> Chat:
    """Return a hook that posts to `url`."""
    return Chat(str(url), per_minute, time.monotonic)


def text_of(line: Mapping[str, Any], left_out: int) -> str:
    """Return the message: what, where, and how to find the rest of it."""
    head = f"*{line['log.level'].upper()}* {line['service.name']}"
    parts = [
        f"{head} ({line['service.environment']}): {visible(line['message'])}",
        f"`{line['error.type']}: {visible(line['error.message'])}`" if "error.type" in line else "",
        f"trace {line['trace.id']}" if "trace.id" in line else "",
        f"(and {left_out} more lines since the last message)" if left_out else "",
    ]
    return "\n".join(part for part in parts if part)
