"""The gRPC server: grpc.aio with every method wrapped once, when it is added."""

import asyncio
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TypeVar, cast

import grpc
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from ..errors import StartupError, UnimplementedError
from ..health import Health
from ..lifecycle import check_free
from ..tls import TlsFiles
from .arrivals import Arrivals
from .conversation import Context, RpcParts
from .credentials import credentials
from .edge import Handler, wrapped
from .health import ReadinessServicer
from .leaving import hear_less
from .options import options
from .settings import GrpcSettings

Servicer = TypeVar("Servicer")

SILENCE_S = 1.0  # for the message of a call that has begun when the server stops
OTHER = "_OTHER"  # OpenTelemetry's word for a method that the server does not know


class RpcServer:
    """Serves whatever servicers were added, with health and, if asked for, reflection."""

    name = "grpc"

    def __init__(self, settings: GrpcSettings, parts: RpcParts, health: Health) -> None:
        self._settings, self._parts, self._health = settings, parts, health
        self._server = grpc.aio.server(options=options(settings))
        self._handlers: dict[str, Handler] = {}
        self._stopping, self._stopped = asyncio.Event(), asyncio.Event()
        self.services: list[str] = []

    @property
    def methods(self) -> Mapping[str, Handler]:
        """Every method that was added, by `package.Service/Method`."""
        return self._handlers

    def add(
        self, register: Callable[[Servicer, grpc.aio.Server], None], servicer: Servicer
    ) -> None:
        """Add a servicer by the function that was generated for it."""
        registry = _Registry()
        register(servicer, cast(grpc.aio.Server, registry))
        for service, handlers in registry.services.items():
            self.services.append(service)
            for method, handler in handlers.items():
                name = f"{service}/{method}"
                self._handlers[name] = wrapped(name, handler, self._parts)

    def bind(self) -> int:
        """Take the port and return it; raises StartupError."""
        host, port = self._settings.host, self._settings.port
        check_free(self.name, host, port)  # a taken port is our error, not a line of grpc's
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        tls = self._settings.tls
        try:
            if tls is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials(TlsFiles("grpc.tls", tls)))
        except RuntimeError as error:
            raise StartupError(f"grpc.port: {host}:{port}: cannot listen") from error

    async def start(self) -> None:
        """Accept calls."""
        probes = _Registry()
        servicer = ReadinessServicer(self._health, self.services, self._stopping)
        add_HealthServicer_to_server(servicer, cast(grpc.aio.Server, probes))
        handlers = dict(self._handlers)
        for service, methods in probes.services.items():
            handlers |= {f"{service}/{method}": handler for method, handler in methods.items()}
        if self._settings.reflection:
            described = [*self.services, *probes.services]
            module = import_module(".reflection", __package__)  # it is off in production
            handlers |= module.reflection(described, self._stopping, self._parts.guard)
        arrivals = Arrivals(self._settings.limits, {f"/{name}": h for name, h in handlers.items()})
        self._server.add_generic_rpc_handlers((_Methods(arrivals, self._unknown()),))
        hear_less()
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Take no new calls, give running ones `grace` seconds, then cut them."""
        self._stopping.set()
        ending = asyncio.ensure_future(self._server.stop(grace))
        while not (await asyncio.wait([ending], timeout=SILENCE_S))[0]:
            if not self._is_answering():
                await self._server.stop(0)
        self._stopped.set()
        ending.result()

    def _is_answering(self) -> bool:
        """Tell whether a call is under way, other than by a client that says nothing."""
        gate = self._parts.edge.gate
        return any(call.transport == "grpc" for call in gate.unary | gate.streams)

    async def wait(self) -> None:
        """Return when serving has ended."""
        await self._stopped.wait()  # not wait_for_termination: cancelling it breaks stop

    def _unknown(self) -> Handler:
        async def refuse(requests: object, context: Context) -> None:
            raise UnimplementedError("no such method")

        return wrapped(OTHER, grpc.stream_stream_rpc_method_handler(refuse), self._parts)


class _Registry:
    """Takes the place of a server while generated code adds a servicer's methods."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Handler]] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Ignore what `add_registered_method_handlers` brings again."""

    def add_registered_method_handlers(self, service: str, methods: dict[str, Handler]) -> None:
        self.services[service] = methods


class _Methods(grpc.GenericRpcHandler):
    """Finds the handler of a method; an unknown one has a handler too, so that it is observed."""

    def __init__(self, arrivals: Arrivals, unknown: Handler) -> None:
        self._arrivals, self._unknown = arrivals, unknown

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """Return the handler; asked by grpc for each call."""
        return self._arrivals.handler(handler_call_details.method) or self._unknown
