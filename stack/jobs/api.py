"""Requests to Elasticsearch and Kibana."""

import base64
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

ANSWER_S = 60
AGAIN_S = 2
PAGE = 5_000
KEEP_ALIVE = "2m"

Document = dict[str, Any]


class ApiError(Exception):
    """The other side refused; `status` is HTTP's, the text what it said."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class NotReadyError(ApiError):
    """The other side is there, and cannot answer yet."""


class Api:
    """One server, asked as one user."""

    def __init__(self, url: str, user: str, password: str) -> None:
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Basic {login}", "kbn-xsrf": "true"}

    def send(
        self, method: str, path: str, body: object = None, kind: str = "application/json"
    ) -> Any:
        """Return the answer; text and bytes are sent as they are, all else as JSON.

        Raises ApiError, and OSError if nobody answers.
        """
        headers = {**self._headers, "Content-Type": kind}
        request = Request(f"{self._url}{path}", _encoded(body), headers, method=method)
        try:
            with urlopen(request, timeout=ANSWER_S) as answer:
                content = answer.read()
        except HTTPError as error:
            raise _error(error.code, error.read().decode(errors="replace")) from error
        return json.loads(content) if content else None

    def found(self, method: str, path: str, body: object = None) -> Any:
        """Return the answer, or None where there is no such thing."""
        try:
            return self.send(method, path, body)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def bulk(self, actions: Iterable[object]) -> None:
        """Send the lines of a bulk request, if there are any; raises ApiError at the first item."""
        lines = "".join(f"{json.dumps(action)}\n" for action in actions)
        if lines:
            answer = self.send("POST", "/_bulk", lines, "application/x-ndjson")
            for item in answer["items"]:
                _check(item)

    def every(self, index: str, search: Mapping[str, Any]) -> Iterator[Document]:
        """Yield each document, however many there are; none where there is no such index."""
        path = f"/{index}/_search?scroll={KEEP_ALIVE}&ignore_unavailable=true"
        page = self.send("POST", path, {"size": PAGE, "sort": ["_doc"], **search})
        while page["hits"]["hits"]:
            yield from page["hits"]["hits"]
            where = {"scroll": KEEP_ALIVE, "scroll_id": page["_scroll_id"]}
            page = self.send("POST", "/_search/scroll", where)
        if "_scroll_id" in page:
            self.found("DELETE", "/_search/scroll", {"scroll_id": page["_scroll_id"]})


def elasticsearch(user: str, password: str) -> Api:
    """Return the server that the environment names; `password` is the name of a variable."""
    return Api(os.environ["ELASTICSEARCH_URL"], user, os.environ[password])


def patiently(ask: Callable[[], Any], seconds: float = 300) -> Any:
    """Ask again while nobody answers, or the server is not ready; raises what it raised last."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(URLError, ConnectionError, TimeoutError, NotReadyError):
            return ask()
        time.sleep(AGAIN_S)
    return ask()


def _error(status: int, text: str) -> ApiError:
    kind = NotReadyError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ApiError
    return kind(status, text)


def _check(item: Mapping[str, Mapping[str, Any]]) -> None:
    (result,) = item.values()
    if "error" in result:
        raise ApiError(result["status"], json.dumps(result["error"]))


def _encoded(body: object) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()
