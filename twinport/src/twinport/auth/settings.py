"""How a caller proves who it is."""

from datetime import timedelta
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from ..settings import Duration, Section, Size, mistake

Algorithm = Literal[  # RFC 7518 and RFC 8037; none with a shared secret, which every reader knows
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class AuthSettings(Section):
    """Who may call; app.py says which operation needs which scope."""

    mode: Literal["none", "jwt", "mtls"] = "none"
    """What proves who calls: nothing, a bearer token, or the certificate of the client."""

    allow_none: bool = False
    """Whether `mode = "none"` is meant outside of development, so that nobody warns of it."""

    issuer: str = ""
    """Who has to have made a token (`iss`)."""

    audience: str = ""
    """Whom a token has to be made for (`aud`)."""

    keys: str = ""
    """Keys that sign tokens: a file (JWKS or PEM), or the URL of a JWKS (https)."""

    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256")
    """Algorithms that a token may be signed with, whatever it says itself."""

    leeway: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(minutes=5))] = timedelta(
        seconds=30
    )
    """By how much the issuer's clock may differ from ours."""

    refresh: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(minutes=5)
    """How long keys are used without asking for new ones."""

    scope_claim: str = "scope"
    """Claim with the scopes of a token: words in one text, or a list."""

    token_size: Annotated[Size, Field(gt=0)] = 8 * 1024
    """Largest token that is looked at."""

    grants: dict[str, frozenset[str]] = Field(default_factory=dict)
    """Scopes of each client by the name in its certificate, for `mode = "mtls"`; "*" is anyone."""

    descriptions: Literal["authenticated", "public"] = "authenticated"
    """Who may read /docs, /openapi.json and gRPC reflection, if they are on at all."""

    @property
    def keys_are_remote(self) -> bool:
        """Whether `keys` is a URL."""
        return "://" in self.keys

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for key in ("issuer", "audience", "keys"):
            if self.mode == "jwt" and not getattr(self, key):
                raise mistake(key, 'is missing: mode = "jwt" needs it')
        if self.mode != "mtls" and self.grants:
            raise mistake("grants", 'only mode = "mtls" has grants; a token brings its scopes')
        return self

    @model_validator(mode="after")
    def _from_whom_we_know(self) -> Self:
        if self.keys_are_remote and not _is_safe(self.keys):
            raise mistake("keys", "must be a file or an https:// URL: who sends keys lets in")
        return self


def _is_safe(address: str) -> bool:
    try:
        url = urlsplit(address)
        host, _ = url.hostname, url.port
    except ValueError:  # a port that is none, half an IPv6 address
        return False
    return url.scheme == "https" or (url.scheme == "http" and host in LOOPBACK)
