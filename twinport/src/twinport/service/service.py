"""All parts of a service, opened in order and closed in reverse."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from socket import socket
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import grpc

from ..auth import Needs
from ..auth.auth import Auth
from ..calls import Alarm, Edge, Gate, Observer
from ..clients.clients import Clients
from ..health import Health, Probe
from ..lifecycle import Background, Server, Servers, Stop, bind, kept_from_children
from ..logs import Logs
from ..management.app import management_app
from ..management.server import ManagementServer
from ..metrics.metrics import Metrics, Readings
from ..rest.api import RouteWay, create_api
from ..rest.edge import RestEdge, bounded
from ..rest.middleware import cors_and_gzip
from ..rest.proxies import behind_proxies
from ..rest.servers import http_server
from ..rest.settings import HttpLimits
from ..rpc.server import RpcServer
from ..rpc.server_call import RpcParts
from ..traces import Tracing
from ..traces.fastapi import instrument
from .ports import Ports
from .settings import Settings

if TYPE_CHECKING:
    import httpx2

Resource = TypeVar("Resource")

MANAGEMENT_GRACE_S = 0.5  # a probe is quick


class Listeners(NamedTuple):
    """The sockets of the HTTP ports; that of gRPC is its server's own."""

    http: socket
    management: socket
    ports: Ports


class Service:
    """What `build` in app.py is handed: routes, servicers, resources and checks are added to it.

    `rest` is the FastAPI application. `rpc` takes servicers:
    `rpc.add(add_OrderServiceServicer_to_server, OrderServicer(orders))`.
    """

    def __init__(
        self,
        settings: Settings,
        tracing: Tracing,
        observers: Sequence[Observer],
        stop: Stop,
        logs: Logs,
    ) -> None:
        self._settings, self._tracing, self._stop = settings, tracing, stop
        self._gate, self._health, self._logs = Gate(settings.calls), Health(), logs
        self._background = Background(stop)
        readings = Readings(
            self._gate.counts, logs.dropped, tracing.dropped, self._background.restarts
        )
        self._metrics = _metrics(settings, tracing, readings)
        is_metered = settings.metrics.enabled
        observers = (*observers, *([self._metrics.observe] if is_metered else []))
        self._edge = _edge(settings, tracing, observers, self._gate)
        self._auth = Auth(settings.auth)
        parts = RpcParts(self._edge, tracing.opened, settings.service.name, self._auth.rpc)
        self.rest = create_api(settings.service, settings.http, self._auth.rest)
        self.rpc = RpcServer(settings.grpc, parts, self._health)
        self._resources = AsyncExitStack()
        client_metered = [self._metrics.observe_client] if is_metered else []
        self._clients = Clients(settings.clients, client_metered, self._resources, self.check)
        if self._auth.probe is not None:
            self.check("auth", self._auth.probe)
        self._endless: list[Callable[[], None]] = []
        self._stage = "start"

    def allow(self, table: Mapping[str, Needs]) -> None:
        """Say what operations need, on both transports; with `auth` on the others are closed.

        An operation has the name of its gRPC method, `GetOrder`, and so has the route function
        `get_order`. Raises StartupError for a name that is said twice; one that no operation has
        ends the start, too.
        """
        self._auth.allow(table)

    async def open(self, resource: AbstractAsyncContextManager[Resource]) -> Resource:
        """Open a pool, a client or the like; it is closed after the servers, the last one first."""
        return await self._resources.enter_async_context(resource)

    def client(self, name: str) -> grpc.aio.Channel:
        """Return the channel to the service of `[clients.name]`; raises StartupError."""
        return self._clients.channel(name)

    def http_client(self, name: str) -> "httpx2.AsyncClient":
        """Return the HTTP client for the service of `[clients.name]`; raises StartupError."""
        return self._clients.http(name)

    def spawn(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        *,
        once: bool = False,
        restart: bool = False,
    ) -> None:
        """Run `work` beside the calls; it is cancelled after the servers have stopped.

        If it ends by itself, returning or raising, the service stops in order with status 1. With
        `once` it may return. With `restart` it is called again instead, after a pause that grows
        from a second to a minute: each failure is an ERROR with its traceback, and is counted by
        `background_restarts_total`. With both it is called until it has returned once. Raises
        StartupError if a task of that name runs already.
        """
        if self._stage == "show":
            return
        self._background.spawn(name, work, once=once, restart=restart)
        self._resources.push_async_callback(self._background.end, name)

    def check(self, name: str, probe: Probe) -> None:
        """Let readiness depend on `probe`, which raises if it is not well; `name` is shown."""
        self._health.check(name, probe)

    def on_stop(self, end: Callable[[], None]) -> None:
        """Call `end` when the servers stop taking work: it ends what would go on for ever."""
        self._endless.append(end)

    def still_running(self) -> str:
        """Say in a few words what a stop still waits for."""
        running = ", ".join(self._gate.running() + self._background.running())
        return f"{self._stage} ({running})" if running else self._stage

    @asynccontextmanager
    async def running(self, build: Callable[["Service"], Awaitable[None]]) -> AsyncIterator[Ports]:
        """Take the ports, `build`, serve; on the way out drain and close. Raises StartupError."""
        async with AsyncExitStack() as stack:
            taken = stack.enter_context(ports_taken(self._settings, self.rpc))
            self._metrics.lag.start()
            stack.callback(self._metrics.lag.stop)
            probes = Servers(self._stop)
            stack.push_async_callback(probes.close, MANAGEMENT_GRACE_S)
            await probes.start(self._management_server(taken.management))
            await stack.enter_async_context(self._resources)
            await stack.enter_async_context(self._auth.running())
            await build(self)
            self.rest.add_pages()
            self._auth.protect(self.rest, self.rpc.methods)
            await stack.enter_async_context(self.rest.running())
            servers = Servers(self._stop)
            stack.push_async_callback(self._end_calls, servers)
            await servers.start(self.rpc, self._rest_server(taken.http))
            self._health.ready()
            self._stage = "serve"
            yield taken.ports

    async def route_ways(self, build: Callable[["Service"], Awaitable[None]]) -> Sequence[RouteWay]:
        """Return which way each route goes; what `build` opens is closed again, nothing spawned."""
        self._stage = "show"
        async with self._resources:
            await build(self)
            self.rest.add_pages()
            return [*self.rest.ways()]

    def _management_server(self, bound: socket) -> Server:
        limits = HttpLimits()
        app = management_app(self._settings.management, self._health, self._metrics, self._logs)
        return ManagementServer("management", bounded(app, limits), bound, limits)

    def _rest_server(self, bound: socket) -> Server:
        settings = self._settings.http
        stacks = instrument(self.rest, self._tracing.provider, self.rest.shared)
        edge = RestEdge(self._edge, settings.limits, *stacks, cors_and_gzip(settings))
        app = behind_proxies(edge, settings.trusted_proxies)
        return http_server("http", app, bound, settings)

    async def _end_calls(self, servers: Servers) -> None:
        waits = self._settings.lifecycle
        self._health.drain()
        if self._stage == "serve":
            self._stage = "drain"
            await self._stop.pause(waits.drain.total_seconds())
        self._stage = "calls"
        for end in self._endless:
            end()
        await servers.close(waits.grace.total_seconds())
        self._stage = "resources"


def _metrics(settings: Settings, tracing: Tracing, readings: Readings) -> Metrics:
    """Return the measurements; where spans are sent, they name traces of the calls measured."""
    metrics = Metrics(settings.metrics, readings)
    if settings.metrics.enabled and settings.traces.exporter != "none":
        tracing.kept = metrics.note_trace
    return metrics


def _edge(settings: Settings, tracing: Tracing, observers: Sequence[Observer], gate: Gate) -> Edge:
    timeout = settings.calls.timeout.total_seconds()
    propagator, joins = tracing.propagator, settings.traces.continuation == "continue"
    join = propagator.join if joins else propagator.restart
    return Edge(join, propagator.reads, observers, gate, Alarm(), timeout, takes_request_id=joins)


@contextmanager
def ports_taken(settings: Settings, rpc: RpcServer) -> Iterator[Listeners]:
    """Take all ports or none, and give them back, taken over by a server or not.

    Raises StartupError.
    """
    with ExitStack() as taken:
        http = taken.enter_context(bind("http", settings.http.host, settings.http.port))
        host, port = settings.management.host, settings.management.port
        management = taken.enter_context(bind("management", host, port))
        ports = Ports(_port(http), rpc.bind(), _port(management))
        taken.enter_context(kept_from_children(ports))
        yield Listeners(http, management, ports)


def _port(bound: socket) -> int:
    port: int = bound.getsockname()[1]
    return port
