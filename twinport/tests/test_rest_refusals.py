"""Whatever is refused over HTTP/2 ends: its stream, in time its connection, and the stop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sample.app import build
from sample.settings import Settings
from twinport import Service
from twinport.auth import PUBLIC, AuthSettings
from twinport.calls import CallSettings
from twinport.lifecycle.settings import LifecycleSettings
from twinport.rest.settings import HttpLimits

from support.issuer import AUDIENCE, ISSUER, Issuer
from support.wire import TIMEOUT_S, Answer, H2Wire

LIMITS = {"body_size": "1KiB", "streams": 20}
SOON = {"body_time": "300ms"}
ORDERS, WATCH = b"/v1/orders", b"/v1/orders:watch"
STOP = {"drain": "0s", "grace": "60s", "flush": "1s", "platform_grace": "90s"}
TOO_SLOW = 408
JSON = (b"content-type", b"application/json")
NO_ERROR, PROTOCOL_ERROR = 0, 1  # RFC 9113, 7
MANY, AT_ONCE = 30, 10  # more than a connection may have at once, and fewer

Opened = Callable[..., Any]


class Refused(NamedTuple):
    """A request that is refused; `end` is the status of its answer, or the code of its reset."""

    end: int
    method: bytes = b"GET"
    path: bytes = ORDERS
    more: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes | None = None
    body_ends: bool = False
    has_token: bool = True


CONNECT = Refused(405, b"CONNECT", b"")
BY_THE_SERVICE = {
    "an unknown path": Refused(404, path=b"/nothing"),
    "a path of no UTF-8": Refused(404, path=b"/v1/orders/%ff"),
    "an unknown order": Refused(404, path=b"/v1/orders/unknown"),
    "a wrong query": Refused(400, path=b"/v1/orders?page_size=many"),
    "a method of other paths": Refused(405, b"PATCH"),
    "a method of other paths, with a body": Refused(405, b"PATCH", body=b"x"),
    "an unknown method": Refused(405, b"BREW"),
    "no token": Refused(401, has_token=False),
    "no token, with a body": Refused(401, b"POST", body=b"{", has_token=False),
    "another token": Refused(401, more=((b"authorization", b"Bearer x"),), has_token=False),
    "a deadline of no number": Refused(400, more=((b"grpc-timeout", b"soon"),)),
    "a deadline": Refused(504, b"POST", more=((b"grpc-timeout", b"20m"),), body=b""),
    "no JSON": Refused(400, b"POST", more=(JSON,), body=b"{", body_ends=True),
    "no order": Refused(400, b"POST", more=(JSON,), body=b"{}", body_ends=True),
    "a body that does not say what it is": Refused(415, b"POST", body=b"{}", body_ends=True),
    "a coding of the body": Refused(415, b"POST", more=((b"content-encoding", b"br"),), body=b"x"),
    "a length that is too large": Refused(
        413, b"POST", more=((b"content-length", b"2000"),), body=b""
    ),
    "a body that is too large": Refused(413, b"POST", body=b"x" * 2000),
    "no body": Refused(TOO_SLOW, b"POST", body=b""),
    "half a body": Refused(TOO_SLOW, b"POST", body=b"{"),
    "half a line": Refused(
        TOO_SLOW, b"POST", b"/v1/orders:import", ((b"content-type", b"application/jsonl"),), b"{"
    ),
    "too much at once": Refused(503, path=WATCH),
    "a bug": Refused(500, path=b"/bug"),
}
BY_THE_SERVER = {
    "byte 0xff in the path": Refused(400, path=b"/\xff"),
    "byte 0xff in the path, with a body": Refused(400, b"POST", b"/\xff", body=b"x"),
    "byte 0xff in the path, with a whole body": Refused(
        400, b"POST", b"/\xff", body=b"x", body_ends=True
    ),
    "byte 0xff in the query": Refused(400, path=b"/v1/orders?\xff"),
    "a path without a slash": Refused(404, path=b"nothing"),
    "a method of no ASCII": Refused(405, b"\xff"),
    "CONNECT": CONNECT,
    "CONNECT, with a body": CONNECT._replace(body=b"x"),
    "no path": Refused(PROTOCOL_ERROR, path=b""),
    "two paths": Refused(PROTOCOL_ERROR, more=((b":path", b"/"),)),
    "an unknown pseudo header": Refused(PROTOCOL_ERROR, more=((b":made-up", b"a"),)),
    "an extended CONNECT": Refused(PROTOCOL_ERROR, more=((b":protocol", b"websocket"),)),
    "upper case": Refused(PROTOCOL_ERROR, more=((b"Upper", b"case"),)),
    "a header of HTTP/1.1": Refused(PROTOCOL_ERROR, more=((b"connection", b"close"),)),
    "a coding": Refused(PROTOCOL_ERROR, more=((b"te", b"gzip"),)),
    "a byte 0": Refused(PROTOCOL_ERROR, more=((b"x", b"a\0b"),)),
    "a length of no number": Refused(PROTOCOL_ERROR, more=((b"content-length", b"soon"),)),
    "less than the length": Refused(
        PROTOCOL_ERROR, b"POST", more=((b"content-length", b"9"),), body=b"{}", body_ends=True
    ),
    "more than the length": Refused(
        PROTOCOL_ERROR, b"POST", more=((b"content-length", b"1"),), body=b"{}"
    ),
}
ALL = BY_THE_SERVICE | BY_THE_SERVER
WHOLE = [name for name, case in BY_THE_SERVICE.items() if case.body is None or case.body_ends]
CASES = [
    *(("hypercorn", name) for name in ALL),
    *(("granian", name) for name in WHOLE),  # it counts an early answer for a while longer
]


class Client(H2Wire):
    """An HTTP/2 connection of a caller with a token."""

    token = b""

    def ask(self, case: Refused) -> int:
        pseudo = [(b":method", case.method), (b":authority", b"a")]
        if case.method != b"CONNECT":
            pseudo += [(b":scheme", b"http"), (b":path", case.path)]
        token = [(b"authorization", b"Bearer " + self.token)] if case.has_token else []
        fields = sorted([*pseudo, *token, *case.more], key=lambda field: field[0][:1] != b":")
        stream_id = self.headers(fields, end=case.body is None)
        if case.body or case.body_ends:
            self.body(stream_id, case.body or b"", end=case.body_ends)
        return stream_id

    async def ends_of(self, case: Refused, times: int) -> set[int | None]:
        """Ask so many times at once, and return how the streams have ended."""
        asked = [self.ask(case) for _ in range(times)]
        return {_end(await self.answer(stream_id)) for stream_id in asked}

    async def good(self) -> int | None:
        return (await self.answer(self.ask(Refused(200)))).status


def _end(answer: Answer) -> int | None:
    return answer.reset if answer.status is None else answer.status


async def build_with_a_bug(service: Service, settings: Settings) -> None:
    await build(service, settings)

    @service.rest.get("/bug")
    async def bug() -> None:
        raise KeyError("bug")

    service.allow({"Bug": PUBLIC})


@pytest.fixture
def opened(settings: Settings, serving: Callable[..., Any], tmp_path: Path) -> Opened:
    """Serve, with one watch open and no room for another; stop, which has to be soon."""
    issuer = Issuer()
    auth = {"issuer": ISSUER, "audience": AUDIENCE, "keys": str(issuer.show_in(tmp_path))}

    @asynccontextmanager
    async def opened(server: str, **limits: Any) -> AsyncIterator[Callable[[], Any]]:
        few = HttpLimits.model_validate(LIMITS | limits)
        http = settings.http.model_copy(update={"server": server, "limits": few})
        chosen = settings.model_copy(
            update={
                "http": http,
                "auth": AuthSettings(mode="jwt", **auth),
                "calls": CallSettings(max_streams=1),
                "lifecycle": LifecycleSettings.model_validate(STOP),
            }
        )
        async with AsyncExitStack() as stack, AsyncExitStack() as clients:
            ports = await stack.enter_async_context(serving(chosen, build_with_a_bug))

            async def connect() -> Client:
                client = await clients.enter_async_context(Client.open(ports.http))
                client.token = issuer.token().encode()
                client.begin()
                return client

            watching = await connect()
            await watching.got(watching.ask(Refused(200, path=WATCH)))
            yield connect
            async with asyncio.timeout(TIMEOUT_S):
                await stack.aclose()

    return opened


@pytest.mark.parametrize(("server", "name"), CASES)
async def test_what_is_refused_ends_and_holds_up_neither_others_nor_the_stop(
    opened: Opened, server: str, name: str
) -> None:
    case = ALL[name]
    async with opened(server, **(SOON if case.end == TOO_SLOW else {})) as connect:
        client = await connect()
        for _ in range(MANY // AT_ONCE):
            assert await client.ends_of(case, AT_ONCE) == {case.end}
        assert await client.good() == 200


async def idle_until_closed(client: Client, case: Refused) -> int:
    await client.ends_of(case, 1)
    code: int = (await client.until_goaway()).error_code
    await client.closed()
    return code


async def test_a_connection_is_idle_after_a_refusal_as_after_an_answer(opened: Opened) -> None:
    async with opened("hypercorn", idle_time="500ms", **SOON) as connect:
        cases = [Refused(200), *ALL.values()]
        clients = [await connect() for _ in cases]
        codes = await asyncio.gather(*map(idle_until_closed, clients, cases))
    assert codes == [NO_ERROR] * len(cases)
