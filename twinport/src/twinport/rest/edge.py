"""The edge of REST: the outermost ASGI callable, which bounds, times and observes each request."""

import asyncio
from collections.abc import Callable, Mapping
from http.client import BAD_REQUEST, METHOD_NOT_ALLOWED

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from ..calls.call import Call, current
from ..calls.edge import REQUEST_ID, Edge, is_cut, note_failure
from ..calls.limits import GRPC_TIMEOUT, time_for
from ..errors import (
    CLIENT_CLOSED_REQUEST,
    DeadlineExceededError,
    InternalError,
    UnavailableError,
    code_of,
)
from ..faults import problem, public, refusal
from .exchange import LENGTH, Body, Exchange, peer_of, too_large, unread
from .servers.connections import CUT, HANDLER
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


Dressing = Callable[[ASGIApp], ASGIApp]

USER_AGENT = b"user-agent"
NONE: Mapping[str, str] = {}


class RestEdge:
    """Observes and bounds every request; `traced` is the application with its instrumentation.

    `dressed` puts around an answer what an application puts around its own, as for CORS.
    """

    def __init__(
        self,
        edge: Edge,
        limits: HttpLimits,
        plain: ASGIApp,
        traced: ASGIApp,
        dressed: Dressing,
    ) -> None:
        self._edge, self._limits, self._dressed = edge, limits, dressed
        self._plain, self._traced = dressed(plain), dressed(traced)
        reads = (*edge.reads, REQUEST_ID, GRPC_TIMEOUT)
        self._reads = {name.encode(): name for name in reads}
        self._names = frozenset(self._reads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._plain(scope, receive, send)
            return
        head = dict(scope["headers"])  # of several with one name the last
        headers = NONE if self._names.isdisjoint(head) else self._read(head)
        call = _described(self._edge.open("http", headers), scope, head)
        current.set(call)  # in the context of a task that has nothing else to do
        exchange = Exchange(call, self._edge, self._limits, receive, send)
        try:
            exchange.open(
                time_for(headers.get(GRPC_TIMEOUT), self._edge.timeout),
                scope.pop(HANDLER, None) or asyncio.current_task(),
            )
            check_head(scope, head, self._limits)
            face = self._traced if call.sampled else self._plain
            await face(scope, exchange.receive, exchange.send)
            if exchange.refusal is not None:
                raise exchange.refusal
        except (asyncio.CancelledError, Exception) as error:
            await self._end(exchange, scope, error)
        finally:
            _conclude(exchange, scope)
            self._edge.close(call)

    def _read(self, head: Mapping[bytes, bytes]) -> Mapping[str, str]:
        """Return what we read of the headers, which most requests do without."""
        return {
            name: head[key].decode("latin-1") for key, name in self._reads.items() if key in head
        }

    async def _end(self, exchange: Exchange, scope: Scope, error: BaseException) -> None:
        """Do what an error asks for; raises CancelledError if that is not the call's own end."""
        if exchange.takes_back_cancelling():
            error = DeadlineExceededError("not answered in time") if exchange.late else error
        elif isinstance(error, asyncio.CancelledError):
            if CUT not in error.args or not exchange.takes_back_the_cut():
                _note_leaving(exchange.call)
                raise error
            error = UnavailableError(CUT)
        if is_cut(error) or _tells_of_leaving(error):
            _note_leaving(exchange.call)
        else:
            await self._refuse(exchange, scope, error)

    async def _refuse(self, exchange: Exchange, scope: Scope, error: BaseException) -> None:
        """Answer `error`, unless an answer has begun: the framework raises what it answered."""
        answer = self._answer(exchange.call, exchange.refusal or error)
        exchange.refusal = None
        if not exchange.started:
            await self._dressed(answer)(scope, exchange.receive, exchange.send)

    def _answer(self, call: Call, error: BaseException) -> ASGIApp:
        if isinstance(error, HTTPException):
            return refusal(error)
        seen = public(error)
        answer = problem(seen)
        if isinstance(seen, InternalError):
            note_failure(call, error)
        return answer


def _tells_of_leaving(error: BaseException) -> bool:
    """Tell whether the framework only failed to read or to hand on, as the caller has left."""
    if isinstance(error, ExceptionGroup):
        return error.split(anyio.BrokenResourceError)[1] is None
    return isinstance(error, ClientDisconnect)


def _note_leaving(call: Call) -> None:
    call.status, call.code = CLIENT_CLOSED_REQUEST, "CANCELLED"


def _described(call: Call, scope: Scope, head: Mapping[bytes, bytes]) -> Call:
    call.peer, call.scope = peer_of(scope.get("client")), scope
    call.method, call.path = scope["method"], scope["path"]
    call.user_agent = head.get(USER_AGENT, b"").decode("latin-1") or None
    return call


def _conclude(exchange: Exchange, scope: Scope) -> None:
    exchange.close()
    call = exchange.call
    route = scope.get("route")
    call.route = getattr(route, "path", None)
    if call.code == "OK":  # nobody has named an error: the status tells
        call.code = code_of(call.status or CLIENT_CLOSED_REQUEST)
