"""The application of the management port."""

from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..faults.problem import answer, install
from ..health import Health, Readiness
from ..metrics.metrics import Metrics
from .gatekeeper import Gatekeeper
from .loggers import Loggers, changed, shown
from .profiles import profiled
from .settings import ManagementSettings

Endpoint = Callable[[Request], Awaitable[Response]]


def management_app(
    settings: ManagementSettings, health: Health, metrics: Metrics, loggers: Loggers
) -> Starlette:
    """Return the application; what changes or reveals something is not for everybody."""
    gatekeeper = Gatekeeper(settings.token)

    async def metered(_: Request) -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def listed(_: Request) -> Response:
        return shown(loggers)

    async def levelled(request: Request) -> Response:
        return await changed(loggers, request)

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
        finding.name: {
            "status": finding.problem or "ok",
            "latency_ms": round(finding.latency_s * 1000, 3),
        }
        for finding in readiness.findings
    }
    status = "ok" if readiness.is_ready else readiness.reason or "not ready"
    return {"status": status, "checks": checks}
