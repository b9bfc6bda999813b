"""The command `health`: whether the running service is ready, for a container's HEALTHCHECK."""

import json
import sys
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException

from ..cli import Command, Invocation, write
from ..errors import FatalError
from .settings import ManagementSettings

TIMEOUT_S = 5.0  # a check of the service's own may take 2 s
HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class NotReadyError(FatalError):
    """The service is not there, or takes no calls."""


def health_command() -> Command:
    """Return the subcommand `health`."""
    return Command("health", "tell by the exit status whether the service is ready", _run)


def _run(invocation: Invocation) -> int:
    _ask(invocation.load().settings.management)
    write("ready\n", sys.stdout)
    return 0


def _ask(management: ManagementSettings) -> None:
    """Ask /readyz; raises NotReadyError unless the answer is yes."""
    host, port = HERE.get(management.host, management.host), management.port
    if not port:
        raise NotReadyError("management.port is 0, any free one: nobody can know which")
    connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        if answer.status != HTTPStatus.OK:
            raise NotReadyError(f"not ready: {_reason(answer.status, answer.read())}")
    except (OSError, HTTPException) as error:
        raise NotReadyError(f"not ready: {host}:{port}: {_told(error)}") from error
    finally:
        connection.close()


def _reason(status: int, body: bytes) -> str:
    """Return what /readyz says; whatever else listens there has a status alone."""
    try:
        told = json.loads(body)
        checks = told["checks"].items()
        failed = [f"{name}: {it['status']}" for name, it in checks if it["status"] != "ok"]
        return ", ".join([told["status"], *failed])
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"it answered {status}"


def _told(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
