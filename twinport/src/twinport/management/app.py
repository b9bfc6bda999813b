"""The application of the management port: probes, metrics, log levels and profiles."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address
from typing import Annotated, Any, Literal, Protocol, Self, TypeVar

from annotated_types import Gt, Le
from loguru import logger
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import (
    CLIENT_CLOSED_REQUEST,
    PermissionDeniedError,
    UnauthenticatedError,
    UnimplementedError,
)
from ..extras import MissingExtraError
from ..faults import answer, install
from ..health import Health, Readiness
from ..logs.settings import Level
from ..metrics.metrics import Metrics
from ..profiling import profile
from ..redact import usual
from ..settings import Duration
from ..validation import parsed
from .settings import ManagementSettings

LOCAL_ONLY = "only callers on this machine may, as management.token is not set"

OPENMETRICS = "application/openmetrics-text"

ROOT = "root"  # what the logger above all others is called here
LONGEST = timedelta(days=30)

LONGEST_S = 60

HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z.-]+))(?::[0-9]+)?")
OF_PROXIES = frozenset({"forwarded", "via", "x-real-ip"})

Outcome = TypeVar("Outcome")
Endpoint = Callable[[Request], Awaitable[Response]]


class Gatekeeper:
    """Asks for the token; where there is none, lets in whoever is on this machine."""

    def __init__(self, token: SecretStr | None) -> None:
        self._token = None if token is None else token.get_secret_value().encode()

    def admit(self, request: Request) -> None:
        """Let the request in; raises UnauthenticatedError or PermissionDeniedError."""
        if self._token is not None:
            self._check_token(request, self._token)
        elif not _is_loopback(request.client.host if request.client else ""):
            raise PermissionDeniedError(LOCAL_ONLY)
        elif not _is_addressed_locally(request):  # a page in a browser, by DNS rebinding
            raise PermissionDeniedError(f"{LOCAL_ONLY}; and they have to name it localhost")
        elif _is_proxied(request):
            raise PermissionDeniedError(f"{LOCAL_ONLY}; and a proxy speaks for others")
        elif _is_of_another_page(request):
            raise PermissionDeniedError(f"{LOCAL_ONLY}; and no page of another origin")

    def _check_token(self, request: Request, token: bytes) -> None:
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise UnauthenticatedError("send management.token as a bearer token")
        if not compare_digest(sent.strip().encode(), token):
            raise UnauthenticatedError("that is not management.token")


def _is_addressed_locally(request: Request) -> bool:
    sent = HOST.fullmatch(request.headers.get("host", ""))  # request.url mends what looks odd
    host = (sent[1] or sent[2]) if sent else ""
    return host.lower() == "localhost" or _is_loopback(host)


def _is_proxied(request: Request) -> bool:
    return any(name in OF_PROXIES or name.startswith("x-forwarded-") for name in request.headers)


def _is_of_another_page(request: Request) -> bool:
    """Tell whether a page from elsewhere asks; a browser need not ask us before it sends a POST."""
    origin = request.headers.get("origin")
    return origin is not None and origin != f"http://{request.headers['host']}".lower()


def _is_loopback(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback


class Loggers(Protocol):
    """The log, as far as its levels go; the root has the empty name."""

    def levels(self) -> Mapping[str, Level]:
        """Return the levels in force."""

    def set_level(self, module: str, level: Level | None, for_s: float | None = None) -> None:
        """Set one; None is back to the settings, and so it is after `for_s` seconds."""


class LevelChange(BaseModel):
    """What is sent to change a level; null is back to the settings."""

    model_config = ConfigDict(extra="forbid")

    level: Level | None
    time: Annotated[Duration, Gt(timedelta(0)), Le(LONGEST)] | None = Field(None, alias="for")

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.level is None and self.time is not None:
            raise ValueError('"for" needs a level; without one it is back to the settings at once')
        return self


def loggers_response(loggers: Loggers) -> JSONResponse:
    """Return the answer that lists every logger with a level of its own."""
    masked, levels = usual().text, sorted(loggers.levels().items())
    return JSONResponse({"loggers": {masked(name) or ROOT: level for name, level in levels}})


async def change_level(loggers: Loggers, request: Request) -> JSONResponse:
    """Change the level that the path names; raises InvalidArgumentError."""
    change, name = parsed(LevelChange, await request.body()), request.path_params["name"]
    time_s = change.time.total_seconds() if change.time else None
    loggers.set_level("" if name == ROOT else name, change.level, time_s)
    logger.warning("level of {!r}: {}", name, _description(change))
    return loggers_response(loggers)


def _description(change: LevelChange) -> str:
    values: dict[str, Any] = change.model_dump(mode="json")
    level = values["level"] or "as in the settings"
    return f"{level} for {values['time']}" if values["time"] else level


class ProfileRequest(BaseModel):
    """What is asked for in the query; `seconds` to watch, and the format, which Accept may say."""

    model_config = ConfigDict(extra="forbid")

    seconds: Annotated[float, Field(gt=0, le=LONGEST_S, allow_inf_nan=False)] = 10
    format: Literal["html", "speedscope"] | None = None


async def profiled(request: Request) -> Response:
    """Watch the process and answer with its profile, unless the caller leaves before.

    Raises InvalidArgumentError, AlreadyExistsError while another one is being taken, and
    UnimplementedError where the extra is not installed.
    """
    asked = parsed(ProfileRequest, json.dumps(dict(request.query_params)).encode())
    try:
        result = await _unless_gone(request, profile(asked.seconds))
    except MissingExtraError as error:
        raise UnimplementedError(str(error)) from error
    if (asked.format or _accepted(request)) == "html":
        return Response(result.html, media_type="text/html")
    return Response(result.speedscope, media_type="application/json")


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Return what `work` does; it is cancelled when the caller leaves, raises HTTPException."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            gone.result()
            raise HTTPException(CLIENT_CLOSED_REQUEST)  # which nobody reads
        return working.result()
    finally:
        working.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        """The body, of which nothing is asked."""


def _accepted(request: Request) -> str:
    return "speedscope" if "application/json" in request.headers.get("accept", "") else "html"


def management_app(
    settings: ManagementSettings, health: Health, metrics: Metrics, loggers: Loggers
) -> Starlette:
    """Return the application; what changes or reveals something is not for everybody."""
    gatekeeper = Gatekeeper(settings.token)

    async def metered(request: Request) -> Response:
        if OPENMETRICS in request.headers.get("accept", ""):
            return Response(metrics.render_openmetrics(), media_type=CONTENT_TYPE_LATEST)
        return Response(metrics.render(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def listed(_: Request) -> Response:
        return loggers_response(loggers)

    async def levelled(request: Request) -> Response:
        return await change_level(loggers, request)

    routes = [
        *_probes(health),
        Route("/metrics", metered),
        Route("/loggers", _guarded(gatekeeper, listed)),
        Route("/loggers/{name}", _guarded(gatekeeper, levelled), methods=["PUT"]),
        Route("/profile", _guarded(gatekeeper, profiled), methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    install(app)
    app.add_exception_handler(Exception, answer)
    return app


def _guarded(gatekeeper: Gatekeeper, endpoint: Endpoint) -> Endpoint:
    async def guarded(request: Request) -> Response:
        gatekeeper.admit(request)
        return await endpoint(request)

    return guarded


def _probes(health: Health) -> list[Route]:
    """Return /livez and /readyz, as Kubernetes names them."""

    async def livez(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> JSONResponse:
        readiness = await health.readiness()
        return JSONResponse(_rendered(readiness), 200 if readiness.is_ready else 503)

    return [Route("/livez", livez), Route("/readyz", readyz)]


def _rendered(readiness: Readiness) -> dict[str, Any]:
    checks = {
        result.name: {
            "status": result.problem or "ok",
            "latency_ms": round(result.latency_s * 1000, 3),
        }
        for result in readiness.results
    }
    status = "ok" if readiness.is_ready else readiness.reason or "not ready"
    return {"status": status, "checks": checks}
