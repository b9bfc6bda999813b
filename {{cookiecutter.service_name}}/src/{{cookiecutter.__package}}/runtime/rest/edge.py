"""The edge of REST: the outermost ASGI callable, around whatever the framework does."""

import asyncio
from collections.abc import Callable

import anyio
from starlette.types import ASGIApp, Receive, Scope, Send

from ..calls.call import Call, current
from ..calls.deadline import GRPC_TIMEOUT, time_for
from ..calls.edge import REQUEST_ID, Edge, is_cut, note_failure
from ..errors import DeadlineExceededError, InternalError
from ..faults import code_of, problem, public
from .exchange import Exchange

Dressing = Callable[[ASGIApp], ASGIApp]

USER_AGENT = "user-agent"
CLIENT_CLOSED_REQUEST = 499  # nginx' number, for logs and metrics: nobody is left to read it


class RestEdge:
    """Observes and bounds every request; `traced` is the application with its instrumentation.

    `dressed` puts around an answer what an application puts around its own, as for CORS.
    """

    def __init__(self, edge: Edge, plain: ASGIApp, traced: ASGIApp, dressed: Dressing) -> None:
        self._edge, self._plain, self._traced = edge, dressed(plain), dressed(traced)
        self._dressed = dressed
        reads = (*edge.reads, REQUEST_ID, GRPC_TIMEOUT, USER_AGENT)
        self._reads = {name.encode(): name for name in reads}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._plain(scope, receive, send)
            return
        headers = self._headers(scope)
        call = self._edge.open("http", headers)
        _describe(call, scope, headers.get(USER_AGENT))
        token = current.set(call)
        exchange = Exchange(call, self._edge, receive, send)
        try:
            exchange.open(time_for(headers.get(GRPC_TIMEOUT), self._edge.timeout))
            app = self._traced if call.sampled else self._plain
            await app(scope, exchange.receive, exchange.send)
        except (asyncio.CancelledError, Exception) as error:
            await self._end(exchange, scope, error)
        finally:
            exchange.close()
            _conclude(call, scope)
            self._edge.close(call)
            current.reset(token)

    def _headers(self, scope: Scope) -> dict[str, str]:
        """Return what we read of the headers; of several with one name the last."""
        reads = self._reads
        return {
            reads[name]: value.decode("latin-1")
            for name, value in scope["headers"]
            if name in reads
        }

    async def _end(self, exchange: Exchange, scope: Scope, error: BaseException) -> None:
        """Do what an error asks for; raises CancelledError if that is not the call's own end."""
        if exchange.takes_back_cancelling():
            error = DeadlineExceededError("not answered in time") if exchange.late else error
        elif isinstance(error, asyncio.CancelledError):
            _note_leaving(exchange.call)
            raise error
        if is_cut(error) or _tells_of_leaving(error):
            _note_leaving(exchange.call)
        else:
            await self._refuse(exchange, scope, error)

    async def _refuse(self, exchange: Exchange, scope: Scope, error: BaseException) -> None:
        """Answer `error`, unless an answer has begun: the framework raises what it answered."""
        seen = public(error)
        answer = problem(seen)
        if isinstance(seen, InternalError):
            note_failure(exchange.call, error)
        if not exchange.started:
            await self._dressed(answer)(scope, exchange.receive, exchange.send)


def _tells_of_leaving(error: BaseException) -> bool:
    """Tell whether FastAPI only failed to hand on an event after the caller's leaving."""
    return isinstance(error, ExceptionGroup) and error.split(anyio.BrokenResourceError)[1] is None


def _note_leaving(call: Call) -> None:
    call.status, call.code = CLIENT_CLOSED_REQUEST, "CANCELLED"


def _describe(call: Call, scope: Scope, user_agent: str | None) -> None:
    client = scope.get("client")
    call.peer = f"{client[0]}:{client[1]}" if client else ""
    call.method, call.path, call.user_agent = scope["method"], scope["path"], user_agent
    call.scope = scope


def _conclude(call: Call, scope: Scope) -> None:
    route = scope.get("route")
    call.route = getattr(route, "path", None)
    if call.code == "OK":  # nobody has named an error: the status tells
        call.code = code_of(call.status or CLIENT_CLOSED_REQUEST)
