"""The HTTP client of one other service: deadline, request id, retries, observers, errors."""

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from datetime import timedelta
from functools import partial
from http.cookiejar import CookieJar
from typing import Any, NoReturn, TypeAlias

import httpx2
from loguru import logger

from ..errors import (
    ERRORS,
    MEDIA_TYPE,
    DeadlineExceededError,
    FieldViolation,
    InternalError,
    OverloadedError,
    ResourceExhaustedError,
    ServiceError,
    StartupError,
    UnavailableError,
    code_of,
)
from ..tls import Followed
from ..tls.files import followed_context
from ..traces.httpx_spans import instrument
from .outgoing_call import ClientCall, Outgoing, neutral, noted
from .settings import ClientRetries, ClientTls

CALL = "client_call"  # among the extensions of a request
REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})  # RFC 9110, 9.2.2
AWAY = frozenset({502, 503, 504})
SMALLEST_MS, LARGEST_MS = 1, 99_999_999  # what fits into grpc-timeout
FOR_EVERYBODY = (
    "a client is shared by all calls of the service, whoever they are for: give a cookie to one"
    ' call, as in headers={"cookie": "name=value"}'
)
Bounded = Callable[[], AbstractAsyncContextManager[None]]
Body: TypeAlias = httpx2.SyncByteStream | httpx2.AsyncByteStream


class HttpClient(httpx2.AsyncClient):
    """Raises ServiceError where the answer is a problem (RFC 9457) or there is none."""

    def __init__(self, outgoing: Outgoing) -> None:
        """Be ready to connect, at the first call; raises StartupError."""
        if not outgoing.settings.url:
            name = f"clients.{outgoing.name}.url"
            raise StartupError(f"{name}: not set, and needed to call it over REST")
        super().__init__(
            base_url=outgoing.settings.url,
            transport=HttpTransport(_tls_files(outgoing)),
            timeout=None,  # ours is for the whole call
            trust_env=False,
            cookies=_NoCookies(),
        )
        self._outgoing = outgoing
        instrument(self, outgoing.name)

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
        bounded = partial(_bounded, call, asyncio.get_running_loop().time() + call.timeout_s)
        with ExitStack() as ending:
            ending.enter_context(self._outgoing.observed(call))
            async with bounded():
                response = await self._attempts(request, stream=stream, **options)
                call.status, call.code = response.status_code, code_of(response.status_code)
                await _raise_problem(call, response)
            if not response.is_closed:  # its body is still to come
                response.stream = _Answer(response.stream, bounded, ending.pop_all().close)
        return response

    def _open(self, request: httpx2.Request, *, is_stream: bool) -> ClientCall:
        wish_s = request.extensions.get("timeout", {}).get("read")
        call = self._outgoing.open("http", request.method, wish_s, is_stream=is_stream)
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
        """Send it, and again while the other service is away, if that is safe."""
        retries = self._outgoing.settings.retries
        is_safe = request.method in REPEATABLE and isinstance(request.stream, httpx2.ByteStream)
        for attempt in range(1, retries.attempts if is_safe else 1):
            response = await self._attempt(request, **options)
            if response is not None:
                return response
            logger.warning("{} is away, attempt {} failed", self._outgoing.name, attempt)
            await asyncio.sleep(_wait_s(retries, attempt))
        return await super().send(request, **options)

    async def _attempt(self, request: httpx2.Request, **options: Any) -> httpx2.Response | None:
        """Return the answer, or None if the other service is away."""
        with suppress(httpx2.ConnectError, httpx2.ReadError, httpx2.RemoteProtocolError):
            response = await super().send(request, **options)
            if not _is_away(response):
                return response
            await response.aclose()
        return None


class _NoCookies(CookieJar):
    """Stays empty: what it kept of an answer to one user would go out for the next one."""

    def extract_cookies(self, *_: object) -> None:
        """Leave them in the answer."""

    def set_cookie(self, _: object) -> NoReturn:
        raise TypeError(FOR_EVERYBODY)


def _is_away(response: httpx2.Response) -> bool:
    """Tell whether the other service, or a proxy, is away; who says when to retry is not asked."""
    return response.status_code in AWAY and "retry-after" not in response.headers


def _wait_s(retries: ClientRetries, attempt: int) -> float:
    """Return how long to wait after an attempt, of which the first is 1."""
    first_s = retries.first_wait.total_seconds()
    wait_s = first_s * 2.0 ** (attempt - 1) + random.uniform(0, first_s)
    return min(wait_s, retries.longest_wait.total_seconds())


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


async def _raise_problem(call: ClientCall, response: httpx2.Response) -> None:
    """Raise the domain error that an answer in application/problem+json stands for."""
    media_type = response.headers.get("content-type", "").partition(";")[0]
    if response.is_error and media_type == MEDIA_TYPE:
        problem = _problem(await response.aread())
        code = str(problem.get("code"))
        call.code = code if code in ERRORS else call.code  # others have members of that name, too
        raise _service_error(problem, call)


def _problem(body: bytes) -> Mapping[str, Any]:
    """Return the members of a problem (RFC 9457, where all may be missing); none if it is none."""
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _service_error(problem: Mapping[str, Any], call: ClientCall) -> ServiceError:
    kind = ERRORS.get(call.code, InternalError)
    if kind is InternalError:
        return neutral(kind, call.client)
    if kind is ResourceExhaustedError and problem.get("status") == OverloadedError.status:
        kind = OverloadedError
    errors = problem.get("errors")
    violations = [e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else []
    fields = [
        FieldViolation(str(each.get("field", "")), str(each.get("description", "")))
        for each in violations
    ]
    return kind(str(problem.get("detail") or ""), fields=fields)


class _Answer(httpx2.AsyncByteStream):
    """The body of an answer that is read when `send` has returned; httpx2 reads and closes once."""

    def __init__(self, body: Body, bounded: Bounded, end: Callable[[], None]) -> None:
        self._body, self._bounded, self._end = _asynchronous(body), bounded, end

    @property
    def elapsed(self) -> timedelta | None:
        """What `Response.elapsed` asks the body for."""
        return getattr(self._body, "elapsed", None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = aiter(self._body)
        while True:
            async with self._bounded():
                part = await anext(parts, None)
            if part is None:
                return
            yield part

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            self._end()


class HttpTransport(httpx2.AsyncBaseTransport):
    """Speaks HTTP/1.1, and counts both bodies of each attempt.

    Over TLS each call goes over the newest certificate; those under way end on the one they had.
    """

    def __init__(self, files: Followed[ssl.SSLContext] | None) -> None:
        self._files = files
        self._newest = _Connections(files)
        self._old: set[_Connections] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self._files is not None and self._files.renew_if_due():
            await self._replace()
        call: ClientCall | None = request.extensions.get(CALL)  # None: an httpx2.Auth asks
        sent, received = (call.has_sent, call.has_received) if call else (None, None)
        connections, body = self._newest, request.stream
        request.stream = _Counted(body, sent)
        connections.users += 1
        leave = partial(self._leave, connections)
        try:
            response = await connections.transport.handle_async_request(request)
        except BaseException:
            await leave()
            raise
        finally:
            request.stream = body  # for the next attempt
        response.stream = _Counted(response.stream, received, leave)
        return response

    async def aclose(self) -> None:
        for each in (self._newest, *self._old):
            await each.transport.aclose()

    async def _replace(self) -> None:
        self._old.add(self._newest)
        self._newest = _Connections(self._files)
        await self._close_unused()

    async def _leave(self, connections: "_Connections") -> None:
        connections.users -= 1
        await self._close_unused()

    async def _close_unused(self) -> None:
        """Close the connections of old certificates from which nobody reads an answer."""
        unused = {each for each in self._old if not each.users}
        self._old -= unused
        for each in unused:
            await each.transport.aclose()


class _Connections:
    """Those of one certificate; `users` are the answers that are read from them."""

    def __init__(self, files: Followed[ssl.SSLContext] | None) -> None:
        # Where a plain URL leads to TLS, nobody is trusted.
        verify = files.content if files else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.transport = httpx2.AsyncHTTPTransport(verify=verify, trust_env=False)
        self.users = 0


def _tls_files(outgoing: Outgoing) -> Followed[ssl.SSLContext] | None:
    """Return what is needed to speak TLS, if the URL says so; raises StartupError."""
    if not outgoing.settings.url.startswith("https:"):
        return None
    return followed_context(outgoing.tls_section, outgoing.settings.tls or ClientTls())


class _Counted(httpx2.AsyncByteStream):
    """A body whose bytes are counted as they pass, and whose end is told to `leave`."""

    def __init__(
        self,
        body: Body,
        count: Callable[[int], None] | None,
        leave: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._body, self._count, self._leave = _asynchronous(body), count, leave

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            if self._count is not None:
                self._count(len(part))
            yield part

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            if self._leave is not None:
                await self._leave()


def _asynchronous(body: Body) -> httpx2.AsyncByteStream:
    assert isinstance(body, httpx2.AsyncByteStream)  # httpx2 has refused any other
    return body
