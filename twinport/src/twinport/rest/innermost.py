"""The framework's innermost layers in one, which costs little while there is nothing to do."""

from contextlib import AsyncExitStack
from typing import Any

from starlette._exception_handler import wrap_app_handling_exceptions
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send


class Innermost(ExceptionMiddleware):
    """Handles what leaves the routes; each route handles what its own function raises.

    It also closes the files of a form, as FastAPI's AsyncExitStackMiddleware does.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["starlette.exception_handlers"] = (self._exception_handlers, self._status_handlers)
        files = scope["fastapi_middleware_astack"] = _Files()
        try:
            await self.app(scope, receive, send)
        except Exception as error:  # handled, or raised again, as if it had come from within
            handling = wrap_app_handling_exceptions(_raising(error), Request(scope, receive))
            await handling(scope, receive, send)
        finally:
            if files.are_there:
                await files.aclose()


class _Files(AsyncExitStack):
    """Where FastAPI leaves what closes the files of a form; most requests have none."""

    are_there = False

    def push_async_callback(self, *args: Any, **kwargs: Any) -> Any:
        self.are_there = True
        return super().push_async_callback(*args, **kwargs)


def _raising(error: Exception) -> ASGIApp:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    return app
