"""Callers known by a bearer token: a JWT (RFC 7519) as an access token (RFC 6750)."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

import jwt
from jwt.utils import base64url_decode
from loguru import logger
from pydantic import SecretStr

from ..errors import UnauthenticatedError
from .auth import AuthMethod
from .keys import KeyFile, KeyRing, KeyUrl
from .permissions import Credentials, Principal
from .settings import AuthSettings

INVALID = 'Bearer error="invalid_token"'  # RFC 6750, 3.1
REQUIRED = ["exp", "iss", "aud", "sub"]
HEADERS_KEPT = 64  # an issuer's tokens have one for each key


def auth_method(settings: AuthSettings) -> AuthMethod:
    """Return how callers are known by their tokens, which needs the issuer's keys."""
    source = KeyUrl(settings) if settings.keys_are_remote else KeyFile(settings)
    keys = KeyRing(source, settings.refresh)

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        async with source.opened(), keys.running():
            yield

    return AuthMethod(Tokens(settings, keys), running, keys.probe)


class MalformedTokenError(jwt.DecodeError):
    """Something in a token is not what RFC 7519 says it is."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_scope(value: object) -> bool:  # null is what some issuers write for none
    return value is None or _is_words(value)


def _is_words(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(each, str) for each in value)
    )


CLAIMS: Mapping[str, Callable[[object], bool]] = {  # PyJWT takes "7" and true for times
    **dict.fromkeys(("exp", "nbf", "iat"), _is_number),
    **dict.fromkeys(("iss", "sub"), _is_text),
    "aud": _is_words,
}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; of two values of one name, others might see the first."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise MalformedTokenError("a name twice")
    return value


def _no_number(name: str) -> None:
    raise MalformedTokenError(f"{name} is no JSON")


JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = JSON.decode(text.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedTokenError("no JSON") from error
    if not isinstance(value, dict):
        raise MalformedTokenError("no object")
    return value


@lru_cache(HEADERS_KEPT)
def _check_header(segment: str) -> None:
    """Refuse what has a name twice, of which PyJWT takes the last; raises MalformedTokenError."""
    _object(base64url_decode(segment))


class Verifier(jwt.PyJWT):
    """Takes claims only as RFC 7519 has them: none twice, and each of its type."""

    def __init__(self, scope_claim: str) -> None:
        super().__init__()
        self._claims = {scope_claim: _is_scope, **CLAIMS}

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:  # theirs to override
        claims = _object(decoded["payload"])
        for name, fits in self._claims.items():
            if name in claims and not fits(claims[name]):
                raise MalformedTokenError(f"{name} is of another type")
        return claims


class Tokens:
    """Believes a token if one of our issuer's keys has signed it, for us, and for now.

    Which keys and algorithms those are is for the settings alone: of what the token says about
    itself only `kid` is read, to choose among our keys; `jku`, `x5u` and `jwk` never.
    """

    def __init__(self, settings: AuthSettings, keys: KeyRing) -> None:
        self._settings, self._keys = settings, keys
        self._verifier = Verifier(settings.scope_claim)

    async def __call__(self, credentials: Credentials) -> Principal:
        """Return who calls; raises UnauthenticatedError, UnavailableError if there are no keys."""
        token = _token(credentials.authorization)
        if len(token) > self._settings.token_size:
            raise _refused("too long")
        claims = await self._claims(token)
        scopes = _scopes(claims.get(self._settings.scope_claim))
        until = int(claims["exp"]) + self._settings.leeway.total_seconds()
        return Principal(claims["sub"], scopes, claims, SecretStr(token), until)

    async def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            _check_header(token.partition(".")[0])
        except jwt.InvalidTokenError as error:
            raise _refused(type(error).__name__) from None
        reason = "unknown key"
        for key in await self._keys.find(kid):
            try:
                return self._verified(token, key.key, key.algorithms)
            except (jwt.InvalidTokenError, jwt.InvalidKeyError, TypeError) as error:
                reason = type(error).__name__  # its text repeats what the token says
        raise _refused(reason)

    def _verified(self, token: str, key: Any, algorithms: Sequence[str]) -> Mapping[str, Any]:
        return self._verifier.decode(
            token,
            key,
            algorithms,
            issuer=self._settings.issuer,
            audience=self._settings.audience,
            leeway=self._settings.leeway,
            options={"require": REQUIRED, "enforce_minimum_key_length": True},
        )


def _token(authorization: Sequence[str]) -> str:
    if not authorization:
        raise UnauthenticatedError("a bearer token is needed")
    scheme, _, token = authorization[0].partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthenticatedError("a bearer token is needed")
    if len(authorization) > 1 or not token:
        raise _refused("not one token")
    return token.strip(" ")


def _refused(reason: str) -> UnauthenticatedError:
    logger.debug("token refused: {}", reason)
    error = UnauthenticatedError("the token is not valid", challenge=INVALID)
    error.add_note(reason)  # for our operator; callers see the text alone
    return error


def _scopes(claim: str | list[str] | None) -> frozenset[str]:
    return frozenset(claim.split() if isinstance(claim, str) else claim or ())
