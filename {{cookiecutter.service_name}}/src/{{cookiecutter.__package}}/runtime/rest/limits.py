"""Bounds of a request that every server needs: they stand between the edge and the framework."""

from collections.abc import Awaitable, Mapping
from http.client import BAD_REQUEST, METHOD_NOT_ALLOWED

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from .body import Body, too_large
from .settings import HttpLimits

STREAM = b"application/jsonl"  # read and answered line by line, for as long as both sides like

LENGTH, CODING, TYPE = b"content-length", b"transfer-encoding", b"content-type"
FRAMING = frozenset((LENGTH, CODING, TYPE))  # what says how the body of a request is marked off


def fenced(app: ASGIApp, limits: HttpLimits) -> ASGIApp:
    """Return `app` behind the bounds of `limits`; a refusal is answered as a problem."""

    def bounded(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return app(scope, receive, send)
        head = {name: value for name, value in scope["headers"] if name in FRAMING}
        body = Body(limits, receive, send, stream=_is_stream(head))
        body.refusal = _refusal(scope["method"], head, limits)
        if body.refusal is None:
            return _read(app, scope, body)
        return body.refuse(scope)

    return bounded


async def _read(app: ASGIApp, scope: Scope, body: Body) -> None:
    """Run `app`; what it makes of a refusal of the body is of no interest."""
    try:
        await app(scope, body.take, body.answer)
    except HTTPException as error:
        if error is not body.refusal:
            raise
    if body.refusal is not None and not body.answered:
        await body.refuse(scope)


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
