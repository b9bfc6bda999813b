"""The HTTP client of one other service: deadline, request id, retries, observers, errors."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from functools import partial
from http.cookiejar import CookieJar
from typing import Any, NoReturn, TypeAlias

import httpx2
import stamina

from ..errors import MEDIA_TYPE, DeadlineExceededError, StartupError, UnavailableError, code_of
from ..tls.files import followed_context
from ..traces.httpx_spans import instrument
from .grpc_channel import section
from .http_transport import SecureTransport
from .outgoing_call import ClientCall, Outgoing, noted
from .remote_errors import code_in, from_problem, neutral, read_problem
from .settings import ClientTls

CALL = "client_call"  # among the extensions of a request
InTime = Callable[[], AbstractAsyncContextManager[None]]
Body: TypeAlias = httpx2.SyncByteStream | httpx2.AsyncByteStream


class CountingTransport(httpx2.AsyncBaseTransport):
    """Adds both bodies of each attempt to the call that the request belongs to."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        call: ClientCall | None = request.extensions.get(CALL)
        if call is None:  # what an httpx2.Auth asks for itself, as a token
            return await self._transport.handle_async_request(request)
        body = request.stream
        request.stream = _Counted(body, call.has_sent)
        try:
            response = await self._transport.handle_async_request(request)
        finally:
            request.stream = body  # for the next attempt
        response.stream = _Counted(response.stream, call.has_received)
        return response

    async def aclose(self) -> None:
        await self._transport.aclose()


class Streamed(httpx2.AsyncByteStream):
    """The body of an answer that is read when `send` has returned; httpx2 reads and closes once."""

    def __init__(self, body: Body, in_time: InTime, end: Callable[[], None]) -> None:
        assert isinstance(body, httpx2.AsyncByteStream)  # httpx2 has refused any other
        self._body, self._in_time, self._end = body, in_time, end

    @property
    def elapsed(self) -> timedelta | None:
        """What `Response.elapsed` asks the body for."""
        return getattr(self._body, "elapsed", None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = aiter(self._body)
        while True:
            async with self._in_time():
                part = await anext(parts, None)
            if part is None:
                return
            yield part

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            self._end()


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, body: Body, count: Callable[[int], None]) -> None:
        assert isinstance(body, httpx2.AsyncByteStream)
        self._body, self._count = body, count

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            self._count(len(part))
            yield part

    async def aclose(self) -> None:
        await self._body.aclose()


REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})  # RFC 9110, 9.2.2
AWAY = frozenset({502, 503, 504})
SMALLEST_MS, LARGEST_MS = 1, 99_999_999  # what fits into grpc-timeout
FOR_EVERYBODY = (
    "a client is shared by all calls of the service, whoever they are for: give a cookie to one"
    ' call, as in headers={"cookie": "name=value"}'
)


def open_http(outgoing: Outgoing) -> httpx2.AsyncClient:
    """Return a client that connects when it is first used; raises StartupError."""
    settings = outgoing.settings
    if not settings.url:
        raise StartupError(f"clients.{outgoing.name}.url: not set, and needed to call it over REST")
    client = HttpClient(outgoing)
    instrument(client)
    return client


class HttpClient(httpx2.AsyncClient):
    """Raises ServiceError where the answer is a problem (RFC 9457) or there is none."""

    def __init__(self, outgoing: Outgoing) -> None:
        super().__init__(
            base_url=outgoing.settings.url,
            transport=CountingTransport(_transport(outgoing)),
            timeout=None,  # ours is for the whole call
            trust_env=False,
            cookies=_NoCookies(),
        )
        self._outgoing = outgoing

    @property
    def cookies(self) -> httpx2.Cookies:
        """None; what an answer sets is in the `cookies` of that answer."""
        return super().cookies

    @cookies.setter
    def cookies(self, cookies: object) -> NoReturn:
        raise TypeError(FOR_EVERYBODY)

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **options: Any
    ) -> httpx2.Response:
        request = _copy(request)
        call = self._open(request, is_stream=stream)
        options["auth"] = self._auth_of(request, options.get("auth", httpx2.USE_CLIENT_DEFAULT))
        in_time = partial(_bounded, call, asyncio.get_running_loop().time() + call.timeout_s)
        with ExitStack() as ending:
            ending.enter_context(self._outgoing.observed(call))
            async with in_time():
                response = await self._attempts(request, stream=stream, **options)
                call.status, call.code = response.status_code, code_of(response.status_code)
                await self._raise_problem(call, response)
            if not response.is_closed:  # its body is still to come
                response.stream = Streamed(response.stream, in_time, ending.pop_all().close)
        return response

    def _open(self, request: httpx2.Request, *, is_stream: bool) -> ClientCall:
        wished_s = request.extensions.get("timeout", {}).get("read")
        call = self._outgoing.open("http", request.method, wished_s, is_stream=is_stream)
        for name, value in self._outgoing.headers().items():
            request.headers.setdefault(name, value)  # what the code that calls says, goes first
        milliseconds = min(max(int(call.timeout_s * 1000), SMALLEST_MS), LARGEST_MS)
        request.headers["grpc-timeout"] = f"{milliseconds}m"
        request.extensions = {**request.extensions, CALL: call, "timeout": {}}
        return call

    def _auth_of(self, request: httpx2.Request, given: Any) -> Any:
        """Return `given`, or what keeps the user of a URL off a call that says who makes it."""
        says_so = "authorization" in request.headers and self.auth is None
        return httpx2.Auth() if says_so and given in (None, httpx2.USE_CLIENT_DEFAULT) else given

    async def _attempts(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        retries = self._outgoing.settings.retries
        is_safe = request.method in REPEATABLE and isinstance(request.stream, httpx2.ByteStream)
        left = retries.attempts if is_safe else 1
        first_s, longest_s = (
            retries.first_wait.total_seconds(),
            retries.longest_wait.total_seconds(),
        )
        tries = stamina.retry_context(
            on=(_AwayError, httpx2.ConnectError, httpx2.ReadError, httpx2.RemoteProtocolError),
            attempts=left,
            timeout=None,
            wait_initial=first_s,
            wait_max=longest_s,
            wait_jitter=first_s,
        )
        async for attempt in tries:
            with attempt:
                response = await super().send(request, **options)
                await _check_presence(response, is_last=attempt.num == left)
        return response

    async def _raise_problem(self, call: ClientCall, response: httpx2.Response) -> None:
        media_type = response.headers.get("content-type", "").partition(";")[0]
        if response.is_error and media_type == MEDIA_TYPE:
            problem = read_problem(await response.aread())
            call.code = code_in(problem, call.code)
            raise from_problem(problem, call.code, self._outgoing.name)


class _NoCookies(CookieJar):
    """Stays empty: what it kept of an answer to one user would go out for the next one."""

    def extract_cookies(self, *_: object) -> None:
        """Leave them in the answer."""

    def set_cookie(self, _: object) -> NoReturn:
        raise TypeError(FOR_EVERYBODY)


def _copy(request: httpx2.Request) -> httpx2.Request:
    """Return what is sent, to which headers are added: who made `request` may send it again."""
    copy = httpx2.Request(
        request.method,
        request.url,
        headers=request.headers,
        stream=request.stream,
        extensions=request.extensions,
    )
    if isinstance(copy.stream, httpx2.ByteStream):
        copy.read()
    return copy


@asynccontextmanager
async def _bounded(call: ClientCall, until: float) -> AsyncIterator[None]:
    with noted(call), _translated(call):
        async with asyncio.timeout_at(until):
            yield


@contextmanager
def _translated(call: ClientCall) -> Iterator[None]:
    """Raise ServiceError for what httpx2 raises."""
    try:
        yield
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise neutral(DeadlineExceededError, call.client) from error
    except httpx2.TransportError as error:
        raise neutral(UnavailableError, call.client) from error


def _transport(outgoing: Outgoing) -> httpx2.AsyncBaseTransport:
    """Return what speaks HTTP/1.1, over TLS if the URL says so; raises StartupError."""
    settings = outgoing.settings
    if settings.url.startswith("https:"):
        files = followed_context(section(outgoing.name), settings.tls or ClientTls())
        return SecureTransport(files)
    return httpx2.AsyncHTTPTransport(verify=False, trust_env=False)


class _AwayError(Exception):
    """The other service, or a proxy in front of it, says that it is away for a moment."""


async def _check_presence(response: httpx2.Response, *, is_last: bool) -> None:
    """Raise what leads to another attempt, if there is one; who says when to retry gets none."""
    is_away = response.status_code in AWAY and "retry-after" not in response.headers
    if is_away and not is_last:
        await response.aclose()
        raise _AwayError
