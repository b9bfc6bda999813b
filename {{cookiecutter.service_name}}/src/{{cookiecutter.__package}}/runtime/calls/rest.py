"""The edge of REST: the outermost ASGI callable, around whatever the framework does."""

import asyncio
from collections.abc import Callable

import anyio
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import DeadlineExceededError, InternalError
from ..faults import code_of, problem, public
from .call import Call, current
from .deadline import GRPC_TIMEOUT, deadline
from .edge import Edge, note_failure
from .exchange import Exchange

Dressing = Callable[[ASGIApp], ASGIApp]

CLIENT_CLOSED_REQUEST = 499  # nginx' number, for logs and metrics: nobody is left to read it


class RestEdge:
    """Observes and bounds every request; `traced` is the application with its instrumentation.

    `dressed` puts around an answer what an application puts around its own, as for CORS.
    """

    def __init__(self, edge: Edge, plain: ASGIApp, traced: ASGIApp, dressed: Dressing) -> None:
        self._edge, self._plain, self._traced = edge, dressed(plain), dressed(traced)
        self._dressed = dressed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._plain(scope, receive, send)
            return
        headers = dict(scope["headers"])

        def header(name: str) -> str | None:
            value = headers.get(name.encode())
            return None if value is None else value.decode("latin-1")

        call = self._edge.open("http", header)
        _describe(call, scope, header("user-agent"))
        token = current.set(call)
        exchange = Exchange(call, self._edge.gate, receive, send)
        try:
            await self._answer(exchange, scope, header(GRPC_TIMEOUT))
        finally:
            exchange.close()
            _conclude(call, scope)
            self._edge.close(call)
            current.reset(token)

    async def _answer(self, exchange: Exchange, scope: Scope, asked: str | None) -> None:
        call = exchange.call
        try:
            call.deadline = deadline(asked, self._edge.timeout)
            self._edge.gate.admit(call)
            async with asyncio.timeout_at(call.deadline) as exchange.limit:
                app = self._traced if call.sampled else self._plain
                await app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            call.status, call.code = CLIENT_CLOSED_REQUEST, "CANCELLED"
            if not exchange.forgives_cancelling():
                raise
        except Exception as error:
            if _tells_of_leaving(error):
                call.status, call.code = CLIENT_CLOSED_REQUEST, "CANCELLED"
            else:
                await self._refuse(exchange, scope, error)

    async def _refuse(self, exchange: Exchange, scope: Scope, error: Exception) -> None:
        """Answer `error`, unless an answer has begun: the framework raises what it answered."""
        late = DeadlineExceededError("not answered in time")
        seen = late if exchange.is_late() else public(error)
        answer = problem(seen)
        if isinstance(seen, InternalError):
            note_failure(exchange.call, error)
        if not exchange.started:
            await self._dressed(answer)(scope, exchange.receive, exchange.send)


def _tells_of_leaving(error: Exception) -> bool:
    """Tell whether FastAPI only failed to hand on an event after the caller's leaving."""
    return isinstance(error, ExceptionGroup) and error.split(anyio.BrokenResourceError)[1] is None


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
