"""Clients that code makes for itself, past the settings: their calls join the trace as well."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from inspect import signature

import grpc
from wrapt import register_post_import_hook

from ..traces.automatic import replace_everywhere
from .rpc_spans import RpcSpans, rpc_spans

PACKAGE = __package__.rpartition(".")[0]
HTTPX = f"{PACKAGE}.traces.http_client:instrument_all"  # not imported before httpx itself
Make = Callable[..., grpc.aio.Channel]


@contextmanager
def bare_clients_traced() -> Iterator[None]:
    """Trace the channels of grpc.aio that are opened until the end, and all clients of httpx."""
    with ExitStack() as undo:
        makers: list[Make] = [grpc.aio.insecure_channel, grpc.aio.secure_channel]
        replace_everywhere({make: _traced(make) for make in makers}, undo)
        register_post_import_hook(HTTPX, "httpx")
        yield


def _traced(make: Make) -> Make:
    parameters = signature(make)

    @wraps(make)
    def opened(*args: object, **kwargs: object) -> grpc.aio.Channel:
        chosen = parameters.bind(*args, **kwargs)
        given = chosen.arguments.get("interceptors") or ()
        if not any(isinstance(each, RpcSpans) for each in given):
            chosen.arguments["interceptors"] = [*given, *rpc_spans(chosen.arguments["target"])]
        return make(*chosen.args, **chosen.kwargs)

    return opened
