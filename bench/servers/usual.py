"""What a team puts together: contrib OpenTelemetry, a Prometheus middleware, loguru's own JSON.

Usage: usual.py hypercorn|uvicorn|granian|grpc PORT RATIO
"""

import sys
import time
from typing import Any

import grpc
import uvloop
from alike import ended, provide
from bare import SERVERS, rest, rpc
from fastapi import FastAPI, Request
from loguru import logger
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor


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


class Observing(grpc.aio.ServerInterceptor):
    """A line and a metric for each unary call: nothing usual has them for grpc.aio."""

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler

        async def observed(request: Any, context: Any) -> Any:
            began = time.perf_counter_ns()
            try:
                return await handler.unary_unary(request, context)
            finally:
                ended(details.method, str(context.code() or grpc.StatusCode.OK), began)

        return grpc.unary_unary_rpc_method_handler(
            observed, handler.request_deserializer, handler.response_serializer
        )


def interceptors() -> tuple[Any, ...]:
    """Return contrib tracing, and what a team writes beside it."""
    from opentelemetry.instrumentation.grpc import aio_server_interceptor

    return aio_server_interceptor(), Observing()


def main() -> None:
    """Serve as the arguments say."""
    server, port, ratio = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    provide(ratio)
    if server == "grpc":
        uvloop.run(rpc(port, interceptors()))
    else:
        uvloop.run(SERVERS[server](observed_rest(), port))


if __name__ == "__main__":
    main()
