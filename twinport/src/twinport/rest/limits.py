"""Bounds of a request that every server needs, whatever the application makes of them."""

from collections.abc import Mapping
from http.client import BAD_REQUEST, METHOD_NOT_ALLOWED

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from ..faults.problem import refusal
from .body import LENGTH, Body, too_large, unread
from .settings import HttpLimits

CODING = b"transfer-encoding"


def fenced(app: ASGIApp, limits: HttpLimits) -> ASGIApp:
    """Return `app` behind the bounds of `limits`, if no edge stands there."""

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        try:
            check_head(scope, dict(scope["headers"]), limits)
        except HTTPException as error:
            await refusal(error)(scope, receive, send)
        else:
            await app(scope, Body(limits, scope, receive).take, send)

    return bounded


def check_head(scope: Scope, headers: Mapping[bytes, bytes], limits: HttpLimits) -> None:
    """See what can be seen before anything of the body is read; raises HTTPException."""
    if scope["method"] == "CONNECT":
        raise unread(scope, METHOD_NOT_ALLOWED, "this is not a proxy")
    if LENGTH not in headers:
        return
    if CODING in headers:  # RFC 9112, 6.1: an attempt to hide a second request
        raise unread(scope, BAD_REQUEST, "both content-length and transfer-encoding")
    if int(headers[LENGTH]) > limits.body_size:
        raise too_large(scope, limits)
