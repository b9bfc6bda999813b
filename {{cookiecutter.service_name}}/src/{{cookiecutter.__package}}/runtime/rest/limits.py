"""Bounds of a request that every server needs: they stand between the edge and the framework."""

from collections.abc import Mapping
from http.client import BAD_REQUEST, METHOD_NOT_ALLOWED

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from ..faults import refusal
from .body import Body, too_large
from .settings import HttpLimits

STREAM = b"application/jsonl"  # read and answered line by line, for as long as both sides like

LENGTH, CODING, TYPE = b"content-length", b"transfer-encoding", b"content-type"
FRAMING = frozenset((LENGTH, CODING, TYPE))  # what says how the body of a request is marked off


def fenced(app: ASGIApp, limits: HttpLimits) -> ASGIApp:
    """Return `app` behind the bounds of `limits`; a refusal is answered as a problem."""

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        head = {name: value for name, value in scope["headers"] if name in FRAMING}
        body = Body(limits, receive, send, stream=_is_stream(head))
        body.refusal = _refusal(scope["method"], head, limits)
        if body.refusal is None:
            await body.read_by(app, scope)
        if body.refusal is not None and not body.answered:
            await _answer(body.refusal, scope, receive, send)

    return bounded


def _is_stream(head: Mapping[bytes, bytes]) -> bool:
    """Tell whether the body has no end that anybody knows yet."""
    return bool(head) and head.get(TYPE, b"").startswith(STREAM) and LENGTH not in head


def _refusal(method: str, head: Mapping[bytes, bytes], limits: HttpLimits) -> HTTPException | None:
    """Return what is wrong with a request before anything of its body is read."""
    if method == "CONNECT":
        return HTTPException(METHOD_NOT_ALLOWED, "this is not a proxy")
    if LENGTH not in head:
        return None
    if CODING in head:  # RFC 9112, 6.1: an attempt to hide a second request
        return HTTPException(BAD_REQUEST, "both content-length and transfer-encoding")
    return too_large(limits) if int(head[LENGTH]) > limits.body_size else None


async def _answer(error: HTTPException, scope: Scope, receive: Receive, send: Send) -> None:
    answer = refusal(error)
    if scope["http_version"].startswith("1"):
        answer.headers["connection"] = "close"  # the rest of the body is not read
    await answer(scope, receive, send)
