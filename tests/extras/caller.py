"""What the base alone can do, in a program that is no service: call, be configured, log, trace."""

import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path

import grpc
from loguru import logger

import twinport
from twinport import NotFoundError, Section, span
from twinport.clients import ClientSettings, connect, connect_http
from twinport.logs import logging_to
from twinport.settings import Duration, Sources, load
from twinport.traces import tracing

ABSENT = ("fastapi", "hypercorn", "grpc_health", "grpc_reflection", "prometheus_client")


class TeaSettings(Section):
    """How tea is made."""

    steep: Duration


class Settings(twinport.Settings):
    """Those of a service, and one section more."""

    tea: TeaSettings


class NoTea(BaseHTTPRequestHandler):
    """Answers every request with a problem."""

    def do_GET(self) -> None:
        """Say that there is none."""
        body = json.dumps({"code": "NOT_FOUND", "detail": "no such tea"}).encode()
        self.send_response(404)
        self.send_header("content-type", "application/problem+json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


async def no_tea(_: bytes, context: grpc.aio.ServicerContext) -> None:
    """Answer every call with an error."""
    await context.abort(grpc.StatusCode.NOT_FOUND, "no such tea")


async def over_rpc() -> str:
    """Return what a call over gRPC raises."""
    server = grpc.aio.server()
    methods = {"GetTea": grpc.unary_unary_rpc_method_handler(no_tea)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("tea.Tea", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with connect(ClientSettings(target=f"127.0.0.1:{port}", health_check=False)) as channel:
        try:
            await channel.unary_unary("/tea.Tea/GetTea")(b"")
        except NotFoundError as error:
            return str(error)
        finally:
            await server.stop(0)
    return ""


async def over_http() -> str:
    """Return what a call over HTTP raises."""
    server = HTTPServer(("127.0.0.1", 0), NoTea)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    async with connect_http(ClientSettings(url=url)) as http:
        try:
            await http.get("/tea")
        except NotFoundError as error:
            return str(error)
        finally:
            server.shutdown()
    return ""


async def called() -> None:
    """Do so over both transports, each in a span."""
    with span("over gRPC"):
        logger.info(await over_rpc())
    with span("over HTTP"):
        logger.info(await over_http())


def main() -> None:
    """Do everything; a line of JSON in the log says what came of each."""
    settings = load(Settings, Sources("tea", Path(sys.argv[1]), "shown")).settings
    identity = settings.service
    with logging_to(settings.logs, identity), tracing(settings.traces, identity):
        logger.info(f"{settings.tea.steep.total_seconds():g} s")
        asyncio.run(called())
        logger.info(" ".join(name for name in ABSENT if find_spec(name)) or "no server")


if __name__ == "__main__":
    main()
