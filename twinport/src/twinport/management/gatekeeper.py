"""Who may change or reveal something on the management port."""

from hmac import compare_digest
from ipaddress import IPv6Address, ip_address

from pydantic import SecretStr
from starlette.requests import Request

from ..errors import PermissionDeniedError, UnauthenticatedError

HERE = "only callers on this machine may, as management.token is not set"


class Gatekeeper:
    """Asks for the token; where there is none, lets in whoever is on this machine."""

    def __init__(self, token: SecretStr | None) -> None:
        self._token = None if token is None else token.get_secret_value().encode()

    def admit(self, request: Request) -> None:
        """Let the request in; raises UnauthenticatedError or PermissionDeniedError."""
        if self._token is not None:
            self._ask_for_token(request, self._token)
        elif not _is_here(request.client.host if request.client else ""):
            raise PermissionDeniedError(HERE)
        elif not _names_here(request):  # a page in a browser, by DNS rebinding
            raise PermissionDeniedError(f"{HERE}; and they have to name it localhost")

    def _ask_for_token(self, request: Request, token: bytes) -> None:
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise UnauthenticatedError("send management.token as a bearer token")
        if not compare_digest(sent.strip().encode(), token):
            raise UnauthenticatedError("that is not management.token")


def _names_here(request: Request) -> bool:
    sent = request.headers.get("host", "")  # not request.url: it mends a host that looks odd
    host = sent[1:].partition("]")[0] if sent.startswith("[") else sent.partition(":")[0]
    return host.lower() == "localhost" or _is_here(host)


def _is_here(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback
