"""What the OpenAPI document says about callers."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fastapi.routing import RouteContext

from ..faults.problem import problems
from .needs import Needs
from .rest import GuardedRoute
from .settings import AuthSettings


class Scheme(NamedTuple):
    """A security scheme by its name in the document."""

    name: str
    description: dict[str, Any]


SCHEMES = {
    "jwt": Scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}),
    "mtls": Scheme("certificate", {"type": "mutualTLS"}),
}


def add_security(
    document: dict[str, Any], routes: Sequence[GuardedRoute], settings: AuthSettings
) -> None:
    """Add to `document` how callers say who they are, and which scopes each operation needs."""
    scheme = SCHEMES[settings.mode]
    document["components"]["securitySchemes"] = {scheme.name: scheme.description}
    refusals = {str(status): answer for status, answer in problems(401, 403).items()}
    for route, wanted in routes:
        for operation in _operations(document, route):
            operation.update(_security(scheme.name, wanted))
            operation["responses"] = refusals | operation["responses"]


def _security(scheme: str, wanted: Needs | None) -> dict[str, Any]:
    scopes = sorted(wanted.scopes) if wanted else []
    return {"security": [] if wanted and wanted.public else [{scheme: scopes}]}


def _operations(document: dict[str, Any], route: RouteContext) -> Iterator[dict[str, Any]]:
    methods = document["paths"].get(route.path_format, {})
    for method in route.methods or ():
        if method.lower() in methods:
            yield methods[method.lower()]
