"""The edge of REST, the outermost ASGI callable: limits, deadline, error answers, observers."""

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from http.client import (
    BAD_REQUEST,
    HTTP_VERSION_NOT_SUPPORTED,
    METHOD_NOT_ALLOWED,
    UNSUPPORTED_MEDIA_TYPE,
)

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from ..calls import GRPC_TIMEOUT, REQUEST_ID, Call, Edge, current, is_cut, joined, note_failure
from ..errors import CLIENT_CLOSED_REQUEST, InternalError, UnavailableError
from ..faults import problem, public, refusal
from .exchange import LENGTH, BoundedBody, Exchange, peer_of, too_large, unread
from .servers.connections import CUT
from .settings import HttpLimits

Middleware = Callable[[ASGIApp], ASGIApp]

CODING, ENCODING, HOST = b"transfer-encoding", b"content-encoding", b"host"
PLAIN = frozenset({b"", b"identity"})
VERSIONS = frozenset({"1", "1.0", "1.1", "2"})  # 1: what granian calls 1.0
AUTHORITY = re.compile(rb"(\[[0-9A-Za-z:.]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]+)(:[0-9]*)?")  # RFC 3986
USER_AGENT = b"user-agent"
NONE: Mapping[str, str] = {}


class RestEdge:
    """Bounds, times and observes every request; answers errors, as 504, and 503 at the stop.

    `plain` and `traced` are one application, without and with its instrumentation. `middleware` is
    put around each of them, and around the answers of the edge itself, as for CORS.
    """

    def __init__(
        self,
        edge: Edge,
        limits: HttpLimits,
        plain: ASGIApp,
        traced: ASGIApp,
        middleware: Middleware,
    ) -> None:
        self._edge, self._limits, self._middleware = edge, limits, middleware
        self._plain, self._traced = middleware(plain), middleware(traced)
        reads = (*edge.reads, REQUEST_ID, GRPC_TIMEOUT)
        self._reads = {name.encode(): name for name in reads}
        self._names = frozenset(self._reads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._plain(scope, receive, send)
            return
        head = dict(scope["headers"])  # of several with one name the last
        headers = NONE if self._names.isdisjoint(head) else self._read(scope, head)
        call = _described(self._edge.open("http", headers), scope, head)
        # Not reset: the server runs each request in a task, and so in a context, of its own. What
        # the call has left in the background keeps it, for its logs.
        current.set(call)
        exchange = Exchange(self._limits, scope, head, receive)
        try:
            exchange.open(call, self._edge, send, headers.get(GRPC_TIMEOUT))
            check_head(scope, head, self._limits)
            app = self._traced if call.sampled else self._plain
            await app(scope, exchange.receive, exchange.send)
            if exchange.refusal is not None:
                raise exchange.refusal
        except (asyncio.CancelledError, Exception) as error:
            await self._end(exchange, scope, error)
        finally:
            exchange.close()
            self._edge.close(call)

    def _read(self, scope: Scope, head: Mapping[bytes, bytes]) -> Mapping[str, str]:
        """Return what we read of the headers, which most requests do without."""
        if len(head) < len(scope["headers"]):
            head = joined(scope["headers"], b",")
        return {
            name: head[key].decode("latin-1") for key, name in self._reads.items() if key in head
        }

    async def _end(self, exchange: Exchange, scope: Scope, error: BaseException) -> None:
        """Do what an error asks for; raises CancelledError if that is not the call's own end."""
        if exchange.uncancel_own():
            error = exchange.late_error() if exchange.late else error
        elif isinstance(error, asyncio.CancelledError):
            if CUT not in error.args or not exchange.uncancel_stop():
                _note_disconnect(exchange.call)
                raise error
            error = UnavailableError(CUT)
        if is_cut(error) or _is_disconnect(error):
            _note_disconnect(exchange.call)
        else:
            await self._refuse(exchange, scope, error)

    async def _refuse(self, exchange: Exchange, scope: Scope, error: BaseException) -> None:
        """Answer `error`, unless an answer has begun: the framework raises what it answered."""
        answer = _answer(exchange.call, exchange.refusal or error)
        exchange.refusal = None
        if not exchange.started:
            await self._middleware(answer)(scope, exchange.receive, exchange.send)


def _described(call: Call, scope: Scope, head: Mapping[bytes, bytes]) -> Call:
    call.peer, call.scope = peer_of(scope.get("client")), scope
    call.method, call.path = scope["method"], scope["path"]
    call.user_agent = head.get(USER_AGENT, b"").decode("latin-1") or None
    return call


def _answer(call: Call, error: BaseException) -> ASGIApp:
    if isinstance(error, HTTPException):
        return refusal(error)
    answerable = public(error)
    answer = problem(answerable)
    if isinstance(answerable, InternalError):
        note_failure(call, error)
    return answer


def _is_disconnect(error: BaseException) -> bool:
    """Tell whether the framework only failed to read or to hand on, as the caller has left."""
    if isinstance(error, ExceptionGroup):
        return error.split(anyio.BrokenResourceError)[1] is None
    return isinstance(error, ClientDisconnect)


def _note_disconnect(call: Call) -> None:
    call.status, call.code = CLIENT_CLOSED_REQUEST, "CANCELLED"


def bounded(app: ASGIApp, limits: HttpLimits) -> ASGIApp:
    """Return `app` behind the body size limit and the request timeout, where it has no edge."""

    async def bounded_app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        head = dict(scope["headers"])
        try:
            check_head(scope, head, limits)
        except HTTPException as error:
            await refusal(error)(scope, receive, send)
        else:
            await app(scope, BoundedBody(limits, scope, head, receive).receive, send)

    return bounded_app


def check_head(scope: Scope, head: Mapping[bytes, bytes], limits: HttpLimits) -> None:
    """Check the head alone, before the body is read; raises HTTPException."""
    is_usual = _is_usual(scope["http_version"], scope["method"], head.get(HOST))
    if not is_usual or len(scope["headers"]) > len(head):
        _check_protocol(scope, head)
    if ENCODING in head and head[ENCODING].lower() not in PLAIN:
        plain = {"accept-encoding": "identity"}  # RFC 9110, 15.5.16
        raise unread(scope, UNSUPPORTED_MEDIA_TYPE, "the body has to come as it is", plain)
    if LENGTH not in head:
        return
    if CODING in head:  # RFC 9112, 6.1: an attempt to hide a second request
        raise unread(scope, BAD_REQUEST, "both content-length and transfer-encoding")
    if int(head[LENGTH]) > limits.body_size:
        raise too_large(scope, limits)


def _check_protocol(scope: Scope, head: Mapping[bytes, bytes]) -> None:
    if scope["http_version"] not in VERSIONS:
        raise unread(scope, HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken")
    if scope["method"] == "CONNECT":
        raise unread(scope, METHOD_NOT_ALLOWED, "this is not a proxy")
    host = head.get(HOST, b"")
    if not host and scope["http_version"] != "1.1":
        return
    if AUTHORITY.fullmatch(host) is None:
        raise unread(scope, BAD_REQUEST, "host is missing, or is none")
    if len(scope["headers"]) > len(head) and _has_two_hosts(scope):
        raise unread(scope, BAD_REQUEST, "more than one host")


@lru_cache(maxsize=1024)  # they are few, unless somebody makes them up
def _is_usual(version: str, method: str, host: bytes | None) -> bool:
    """Tell whether nothing is wrong with these three, so that nobody has to look closer."""
    is_named = AUTHORITY.fullmatch(host) is not None if host else version != "1.1"
    return version in VERSIONS and method != "CONNECT" and is_named


def _has_two_hosts(scope: Scope) -> bool:
    is_http2 = scope["http_version"] == "2"  # :authority is one, too
    return not is_http2 and sum(name == HOST for name, _ in scope["headers"]) > 1
