"""Export of spans over HTTP, to Zipkin or by OTLP, with the exporters of OpenTelemetry."""

import logging
import os
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from importlib import import_module
from typing import Any

import requests
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url

from ..logs.bounded_queue import Then, UndeliveredError
from .provider import DEBUG

TIMEOUT_S = 2  # so that a backend which never answers cannot hold the exit
CLASSES = {  # only the one that is chosen is imported
    "zipkin": ("opentelemetry.exporter.zipkin.json", "ZipkinExporter"),
    "otlp": ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "OTLPSpanExporter"),
}
NOT_NOW = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})

TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
SAYS_SO = re.compile(r"too (large|big|long)|exceed", re.IGNORECASE)  # of a limit for its body


class HttpExporter:
    """Sends spans over HTTP and tells in a few words why it could not."""

    def __init__(self, kind: str, endpoint: str) -> None:
        module, name = CLASSES[kind]
        logging.getLogger(module).setLevel(logging.CRITICAL)  # the report says it in one line
        self._session = _Session()
        make: Callable[..., SpanExporter] = getattr(import_module(module), name)
        self._exporter = make(endpoint=endpoint, timeout=TIMEOUT_S, session=self._session)
        if kind == "zipkin":
            _tell_debug_by_b3(self._exporter)

    def send(self, spans: Sequence[ReadableSpan]) -> None:
        """Send `spans`; raises UndeliveredError."""
        self._session.forget()
        try:
            result = self._exporter.export(spans)
        except requests.RequestException:
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS or not self._session.is_taken:
            raise UndeliveredError(self._session.outcome, self._session.then)

    def close(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()


def _tell_debug_by_b3(exporter: Any) -> None:
    """Let only those spans be `debug` that are: OpenTelemetry's encoder says it of all."""
    encode = exporter.encoder._encode_span

    def encoded(span: ReadableSpan, endpoint: object) -> dict[str, Any]:
        zipkins: dict[str, Any] = encode(span, endpoint)
        if DEBUG not in (span.attributes or {}):
            zipkins.pop("debug", None)
        return zipkins

    exporter.encoder._encode_span = encoded


class _Session(requests.Session):
    """Remembers how the last request ended, and no cookie that came with the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.forget()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self.auth = _user_of_the_url  # else requests asks ~/.netrc, and what it says goes first

    def forget(self) -> None:
        """Begin anew: what is not even sent could not be encoded."""
        self.outcome, self.then, self.is_taken = "cannot be encoded", Then.DROP, False

    def merge_environment_settings(self, url: Any, _proxies: Any, *others: Any) -> Any:
        """Take from the environment whom to trust, and no proxy."""
        merged = super().merge_environment_settings(url, {"no_proxy": "*"}, *others)
        if merged["verify"] is True:  # as for other connections of the service
            merged["verify"] = os.environ.get("SSL_CERT_FILE") or True
        return merged

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        try:
            # A redirect would make a GET of a POST, without its body.
            answer = super().send(request, **{**kwargs, "allow_redirects": False})
        except requests.RequestException as error:
            self.outcome, self.then = _in_short(error), Then.RETRY
            raise
        self.outcome = f"answered {answer.status_code} {answer.reason}"
        self.then = _then(answer)
        self.is_taken = answer.status_code < HTTPStatus.MULTIPLE_CHOICES
        return answer


def _then(answer: requests.Response) -> Then:
    status = answer.status_code
    if status == TOO_LARGE or (status == HTTPStatus.BAD_REQUEST and SAYS_SO.search(answer.text)):
        return Then.SPLIT
    is_for_now = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in NOT_NOW
    return Then.RETRY if is_for_now else Then.DROP


def _user_of_the_url(request: requests.PreparedRequest) -> requests.PreparedRequest:
    login = get_auth_from_url(request.url or "")
    return HTTPBasicAuth(*login)(request) if any(login) else request


def _in_short(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT_S} s"
    cause: BaseException | None = error
    while cause is not None and not getattr(cause, "strerror", None):
        cause = cause.__cause__ or cause.__context__
    return getattr(cause, "strerror", None) or "no connection"
