"""Lines by HTTP POST, an array at a time; a 2xx status acknowledges."""

import base64
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence

from .connection import Files
from .kinds import HttpSink
from .shipper import RefusedError, Transport

NEVER = frozenset({400, 413, 415, 422})  # of others, such as 401 or 404, the operator may think


class Post(Transport):
    """One request for each batch."""

    def __init__(self, settings: HttpSink, files: Files) -> None:
        self._url, self._timeout_s = str(settings.url), settings.timeout.total_seconds()
        self._headers = _headers(settings)
        self._files, self._opener = files, _opener(files.content)

    def send(self, batch: Sequence[bytes]) -> None:
        body = b"[" + b",".join(batch) + b"]"
        if self._files.renew():
            self._opener = _opener(self._files.content)
        request = urllib.request.Request(self._url, body, self._headers)  # a body means POST
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in NEVER:
                raise RefusedError(str(error)) from error
            raise

    def close(self) -> None:
        pass  # each request has its own connection


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for a failure: urllib would repeat a POST as a GET, without its body."""

    def redirect_request(self, *_arguments: object, **_more: object) -> None:
        return None


def _opener(context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), NoRedirect())


def _headers(settings: HttpSink) -> Mapping[str, str]:
    headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
    if settings.username:
        login = f"{settings.username}:{settings.password.get_secret_value()}"
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    return {"Content-Type": "application/json", **headers}
