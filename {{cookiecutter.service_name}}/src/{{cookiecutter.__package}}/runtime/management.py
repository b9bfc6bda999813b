"""The management port: for probes and operators, never for callers."""

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from .health import Health, Readiness
from .settings import Port, Section


class ManagementSettings(Section):
    """The management port."""

    host: str = "127.0.0.1"
    """Address to listen on; probes need more than this machine's own."""

    port: Port = 9000
    """Port to listen on; 0 takes any free one."""


def management_app(health: Health) -> Starlette:
    """Return the application: /livez and /readyz as Kubernetes names them."""

    async def livez(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> JSONResponse:
        readiness = await health.readiness()
        return JSONResponse(_rendered(readiness), 200 if readiness.is_ready else 503)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz)])


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
