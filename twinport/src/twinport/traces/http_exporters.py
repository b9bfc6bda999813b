"""Export of spans over HTTP, to Zipkin or by OTLP, with the exporters of OpenTelemetry."""

import logging
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
        self._session.outcome, self._session.then = "cannot be encoded", Then.DROP
        try:
            result = self._exporter.export(spans)
        except requests.RequestException:
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS:
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

    outcome, then = "", Then.DROP

    def __init__(self) -> None:
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self.auth = _user_of_the_url  # else requests asks ~/.netrc, and what it says goes first

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        try:
            answer = super().send(request, **kwargs)
        except requests.RequestException as error:
            self.outcome, self.then = _in_short(error), Then.RETRY
            raise
        status = answer.status_code
        self.outcome = f"answered {status} {answer.reason}"
        is_for_now = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in NOT_NOW
        self.then = Then.RETRY if is_for_now else Then.DROP
        return answer


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
