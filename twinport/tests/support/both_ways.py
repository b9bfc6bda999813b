"""An application behind its edge, without a server: what it answers to a request, byte for byte."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import TracerProvider

from twinport.auth import AuthSettings, Needs, Principal
from twinport.auth.permissions import Credentials, Guard, PermissionTable
from twinport.auth.rest_guard import RestGuard
from twinport.calls import Alarm, Call, CallSettings, Edge, Gate, Sleeper
from twinport.errors import UnauthenticatedError
from twinport.rest.api import Api, create_api
from twinport.rest.edge import RestEdge
from twinport.rest.middleware import cors_and_gzip
from twinport.rest.settings import HttpSettings
from twinport.settings import Identity
from twinport.traces.fastapi import instrument

IDENTITY = Identity(name="both-ways", version="0", environment="test")
Message = Mapping[str, Any]


class Asked(NamedTuple):
    """A request as a server hands it on; if it is cut, the caller leaves after these parts."""

    method: str
    path: str
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    parts: tuple[bytes, ...] = (b"",)
    is_cut: bool = False

    @property
    def scope(self) -> dict[str, Any]:
        """Return the scope; its lists are of one call, as layers may change them."""
        return {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
            "raw_path": self.path.encode(),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "method": self.method,
            "path": self.path,
            "query_string": self.query,
            "headers": [(b"host", b"both.test"), *self.headers],
        }

    def messages(self) -> Iterator[Message]:
        """Yield what the server hands on, the caller's disconnect last if it is cut."""
        for number, part in enumerate(self.parts, 1):
            more = self.is_cut or number < len(self.parts)
            yield {"type": "http.request", "body": part, "more_body": more}
        if self.is_cut:
            yield {"type": "http.disconnect"}


class Answered(NamedTuple):
    """What was sent, and what log lines and metrics say of the call."""

    messages: Sequence[Message]
    route: str | None
    code: str
    status: int

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.messages)


async def by_name(credentials: Credentials) -> Principal:
    """Believe whoever says a name; the scopes are behind it."""
    if not credentials.authorization:
        raise UnauthenticatedError("who are you?")
    name, *scopes = credentials.authorization[0].split()
    return Principal(name, frozenset(scopes))


class Application:
    """One application; `needs` puts the guard in front of it, with what its operations need."""

    def __init__(
        self,
        build: Callable[[Api], object],
        needs: Mapping[str, Needs] | None = None,
        **settings: Any,
    ) -> None:
        http, guard = HttpSettings(**settings), None if needs is None else _guard(needs)
        self.api = create_api(IDENTITY, http, guard)
        build(self.api)
        self.api.add_pages()
        if guard is not None:
            guard.protect(self.api)
        self._calls: list[Call] = []
        edge = _edge(self._calls)
        stacks = instrument(self.api, TracerProvider(), {})
        self._edge = RestEdge(edge, http.limits, *stacks, cors_and_gzip(http))

    async def answer(self, asked: Asked) -> Answered:
        """Return what it answers; the server's task is the current one."""
        waiting, sent = asked.messages(), list[Message]()

        async def receive() -> Message:
            message = next(waiting, None)
            return await asyncio.Event().wait() if message is None else message  # type: ignore

        async def send(message: Message) -> None:
            sent.append({**message, "headers": [*message.get("headers", ())]})

        call = asyncio.ensure_future(self._edge(asked.scope, receive, send))  # type: ignore
        await asyncio.wait([call])
        ended = self._calls.pop()
        return Answered(sent, ended.route, ended.code, ended.status)


def _guard(needs: Mapping[str, Needs]) -> RestGuard:
    permissions = PermissionTable()
    permissions.allow(needs)
    return RestGuard(Guard(by_name, asks_for_tokens=True), permissions, AuthSettings())


class _Silent(Alarm):
    """Wakes nobody: whether a caller is looked for must not hang on how busy the machine is."""

    def set(self, sleeper: Sleeper, at: float) -> None:
        """Do nothing."""


def _edge(calls: list[Call]) -> Edge:
    ids = repeat(("a" * 32, "b" * 16))
    gate, alarm = Gate(CallSettings()), _Silent()
    return Edge(lambda call, headers: None, (), (calls.append,), gate, alarm, 30, ids=ids)
