"""What a team puts together: contrib OpenTelemetry, a Prometheus middleware, loguru's own JSON.

Usage: usual.py hypercorn|uvicorn|granian|grpc PORT RATIO
"""

import sys
import time
from typing import Any

import uvloop
from bare import SERVERS, rest, rpc
from fastapi import FastAPI, Request
from loguru import logger
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased


class Nowhere(SpanExporter):
    """Takes spans and forgets them, as ours does while it is measured."""

    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def observed_rest() -> FastAPI:
    """Return the routes with everything around them."""
    from prometheus_fastapi_instrumentator import Instrumentator

    api = rest()

    @api.middleware("http")
    async def log_access(request: Request, call_next: Any) -> Any:
        began = time.perf_counter_ns()
        answer = await call_next(request)
        ended = time.perf_counter_ns() - began
        told = {"method": request.method, "status": answer.status_code, "duration": ended}
        logger.bind(path=request.url.path, **told).info("request")
        return answer

    Instrumentator().instrument(api)
    FastAPIInstrumentor.instrument_app(api)
    return api


def interceptors() -> tuple[Any, ...]:
    """Return contrib tracing alone: nothing usual measures or logs calls of grpc.aio."""
    from opentelemetry.instrumentation.grpc import aio_server_interceptor

    return (aio_server_interceptor(),)


def main() -> None:
    """Serve as the arguments say."""
    server, port, ratio = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(ratio)))
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    trace.set_tracer_provider(provider)
    logger.remove()
    logger.add(sys.stdout, serialize=True)
    if server == "grpc":
        uvloop.run(rpc(port, interceptors()))
    else:
        uvloop.run(SERVERS[server](observed_rest(), port))


if __name__ == "__main__":
    main()
