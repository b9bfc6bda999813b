"""The gRPC server: grpc.aio with its options, TLS, and every method wrapped once."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from threading import Lock
from typing import Any, TypeVar, cast

import grpc
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from loguru import logger

from ..errors import StartupError, UnimplementedError
from ..health import Health
from ..lifecycle import check_free
from ..tls import TlsFiles
from ..tls.files import Pem
from .health import ReadinessServicer
from .message_timeout import MessageTimeout
from .server_call import Context, Handler, RpcParts, log_disconnects_as_debug, wrapped
from .settings import GrpcSettings
from .threads import with_threads

Option = tuple[str, int]

ALGORITHMS = {"deflate": 1, "gzip": 2}  # grpc/impl/compression_types.h

Servicer = TypeVar("Servicer")

PENDING = 4000  # calls that have come and wait for the loop; of more, grpc answers CANCELLED

RETRY_S = 0.02

SILENCE_S = 1.0  # for the message of a call that has begun when the server stops
OTHER = "_OTHER"  # OpenTelemetry's word for a method that the server does not know


def options(settings: GrpcSettings) -> list[Option]:
    """Return the arguments of a server; times are in milliseconds, sizes in bytes."""
    limits, keepalive = settings.limits, settings.keepalive
    ping_interval = _ms(keepalive.min_client_interval)
    chosen = [
        ("grpc.so_reuseport", 0),  # else another process can share the port unseen
        ("grpc.max_receive_message_length", limits.message_size),
        ("grpc.max_metadata_size", limits.metadata_size),
        ("grpc.absolute_max_metadata_size", limits.metadata_size),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.max_concurrent_streams", limits.streams),
        ("grpc.max_connection_idle_ms", _ms(limits.idle_time)),
        ("grpc.max_connection_age_ms", _ms(limits.connection_age)),
        ("grpc.max_connection_age_grace_ms", _ms(limits.connection_age_grace)),
        ("grpc.keepalive_time_ms", _ms(keepalive.time)),
        ("grpc.keepalive_timeout_ms", _ms(keepalive.timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", ping_interval),
        ("grpc.server.max_pending_requests", PENDING),  # from where some are, at random
        ("grpc.server.max_pending_requests_hard_limit", PENDING),
    ]
    algorithm = ALGORITHMS.get(settings.compression)
    return [*chosen, ("grpc.default_compression_algorithm", algorithm)] if algorithm else chosen


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials that follow `files`; a CA for clients makes their certificates a must."""
    renewal: Any = _Renewal(files)  # its None for "nothing new" is missing in the stubs
    needed = files.content.client_ca is not None
    return grpc.dynamic_ssl_server_credentials(_configuration(files.content), renewal, needed)


class _Renewal:
    """Asked by grpc in a thread of its own in front of each handshake."""

    def __init__(self, files: TlsFiles) -> None:
        self._files, self._lock = files, Lock()

    def __call__(self) -> "grpc.ServerCertificateConfiguration | None":
        """Return what is new; None if nothing is."""
        with self._lock:
            return _configuration(self._files.content) if self._files.renew_if_due() else None


def _configuration(pem: Pem) -> "grpc.ServerCertificateConfiguration":
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.client_ca)


class RpcServer:
    """Serves whatever servicers were added, with health and, if asked for, reflection."""

    name = "grpc"

    def __init__(self, settings: GrpcSettings, parts: RpcParts, health: Health) -> None:
        self._settings, self._parts, self._health = settings, parts, health
        self._server = grpc.aio.server(options=options(settings))
        self._crashed: set[grpc.aio.Server] = set()  # their calls under way go on
        self._port = settings.port
        self._found_by: tuple[MessageTimeout, ...] = ()
        self._restarts: set[asyncio.Future[None]] = set()
        self._threads = ThreadPoolExecutor(settings.threads, "grpc-method")  # starts none yet
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
                asynchronous = with_threads(name, handler, self._threads)
                self._handlers[name] = wrapped(name, asynchronous, self._parts)

    def bind(self) -> int:
        """Take the port and return it; raises StartupError."""
        check_free(self.name, self._settings.host, self._port)  # our error, not a line of grpc's
        self._port = self._listen()
        return self._port

    def _listen(self) -> int:
        host, port = self._settings.host, self._port
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
        by_path = {f"/{name}": handler for name, handler in handlers.items()}
        limits, waiting = self._settings.limits, self._parts.waiting
        self._found_by = (MessageTimeout(limits, by_path, self._unknown(), waiting),)
        log_disconnects_as_debug()
        await self._serve()

    async def _serve(self) -> None:
        self._server.add_generic_rpc_handlers(self._found_by)
        before = asyncio.all_tasks()
        await self._server.start()
        for task in asyncio.all_tasks() - before:
            task.add_done_callback(self._note_crash)

    def _note_crash(self, task: "asyncio.Task[Any]") -> None:
        """Start anew where the task that takes calls has ended, as a path that is no UTF-8 ends it.

        grpc.aio closes the port then, for good and without telling anybody.
        """
        if task.cancelled() or not isinstance(task.exception(), UnicodeDecodeError):
            return
        _forget_errors_of_the_shutdown()
        restart = asyncio.ensure_future(self._restart(self._server))
        self._restarts.add(restart)
        restart.add_done_callback(self._restarts.discard)

    async def _restart(self, crashed: grpc.aio.Server) -> None:
        logger.warning("a call whose path is no UTF-8 has ended grpc's server, it starts anew")
        self._crashed.add(crashed)
        self._server = grpc.aio.server(options=options(self._settings))
        while not self._stopping.is_set() and not self._is_listening():
            with suppress(TimeoutError):  # the port is given up in a moment
                await asyncio.wait_for(self._stopping.wait(), RETRY_S)
        if not self._stopping.is_set():
            await self._serve()
        await crashed.stop(self._settings.limits.connection_age_grace.total_seconds())
        self._crashed.discard(crashed)

    def _is_listening(self) -> bool:
        try:
            check_free(self.name, self._settings.host, self._port)
            self._listen()
        except StartupError:
            return False
        return True

    async def stop(self, grace: float) -> None:
        """Take no new calls, give running ones `grace` seconds, then cut them."""
        self._stopping.set()
        ending = asyncio.ensure_future(self._stop_all(grace))
        while not (await asyncio.wait([ending], timeout=SILENCE_S))[0]:
            if not self._is_answering():
                await self._stop_all(0)
        self._stopped.set()
        self._threads.shutdown(wait=False)
        ending.result()

    async def _stop_all(self, grace: float) -> None:
        await asyncio.gather(*(each.stop(grace) for each in (self._server, *self._crashed)))

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


def _forget_errors_of_the_shutdown() -> None:
    """Take note of what ends the task by which grpc.aio shuts a server down: the crash again."""
    for task in asyncio.all_tasks():
        if getattr(task.get_coro(), "__qualname__", None) == "AioServer.shutdown":
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


class _Registry:
    """Takes the place of a server while generated code adds a servicer's methods."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Handler]] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Ignore what `add_registered_method_handlers` brings again."""

    def add_registered_method_handlers(self, service: str, methods: dict[str, Handler]) -> None:
        self.services[service] = methods
