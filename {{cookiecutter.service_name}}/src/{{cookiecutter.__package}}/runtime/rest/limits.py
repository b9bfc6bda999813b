"""Bounds of a request that every server needs: they stand between the edge and the framework."""

from collections.abc import Iterable
from http.client import BAD_REQUEST, METHOD_NOT_ALLOWED
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from ..faults import refusal
from .body import Body, too_large
from .settings import HttpLimits

STREAM = b"application/jsonl"  # read and answered line by line, for as long as both sides like


class _Framing(NamedTuple):
    """How the body of a request is marked off; a stream has no end that anybody knows yet."""

    length: int | None
    coded: bool
    stream: bool


def fenced(app: ASGIApp, limits: HttpLimits) -> ASGIApp:
    """Return `app` behind the bounds of `limits`; a refusal is answered as a problem."""

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        head = _framing(scope["headers"])
        body = Body(limits, receive, send, stream=head.stream)
        body.refusal = _refusal(scope["method"], head, limits)
        if body.refusal is None:
            await body.read_by(app, scope)
        if body.refusal is not None and not body.answered:
            await _answer(body.refusal, scope, receive, send)

    return bounded


def _refusal(method: str, head: _Framing, limits: HttpLimits) -> HTTPException | None:
    """Return what is wrong with a request before anything of its body is read."""
    if method == "CONNECT":
        return HTTPException(METHOD_NOT_ALLOWED, "this is not a proxy")
    if head.length is None:
        return None
    if head.coded:  # RFC 9112, 6.1: an attempt to hide a second request
        return HTTPException(BAD_REQUEST, "both content-length and transfer-encoding")
    return too_large(limits) if head.length > limits.body_size else None


def _framing(headers: Iterable[tuple[bytes, bytes]]) -> _Framing:
    length, coded, stream = None, False, False
    for name, value in headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            coded = True
        elif name == b"content-type":
            stream = value.startswith(STREAM)
    return _Framing(length, coded, stream and length is None)


async def _answer(error: HTTPException, scope: Scope, receive: Receive, send: Send) -> None:
    answer = refusal(error)
    if scope["http_version"].startswith("1"):
        answer.headers["connection"] = "close"  # the rest of the body is not read
    await answer(scope, receive, send)
