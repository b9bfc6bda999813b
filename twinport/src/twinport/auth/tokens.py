"""Callers known by a bearer token: a JWT (RFC 7519) as an access token (RFC 6750)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import jwt
from loguru import logger
from pydantic import SecretStr

from ..errors import UnauthenticatedError
from .auth import AuthMethod
from .keys import KeyFile, KeyRing, KeyUrl
from .permissions import Credentials, Principal
from .settings import AuthSettings

INVALID = 'Bearer error="invalid_token"'  # RFC 6750, 3.1
REQUIRED = ["exp", "iss", "aud", "sub"]


def auth_method(settings: AuthSettings) -> AuthMethod:
    """Return how callers are known by their tokens, which needs the issuer's keys."""
    source = KeyUrl(settings) if settings.keys_are_remote else KeyFile(settings)
    keys = KeyRing(source, settings.refresh)

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        async with source.opened(), keys.running():
            yield

    return AuthMethod(Tokens(settings, keys), running, keys.probe)


class Tokens:
    """Believes a token if one of our issuer's keys has signed it, for us, and for now.

    Which keys and algorithms those are is for the settings alone: of what the token says about
    itself only `kid` is read, to choose among our keys; `jku`, `x5u` and `jwk` never.
    """

    def __init__(self, settings: AuthSettings, keys: KeyRing) -> None:
        self._settings, self._keys = settings, keys

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
        return jwt.decode(
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
    return UnauthenticatedError("the token is not valid", challenge=INVALID)


def _scopes(claim: object) -> frozenset[str]:
    words = claim.split() if isinstance(claim, str) else claim
    return frozenset(map(str, words)) if isinstance(words, list) else frozenset()
