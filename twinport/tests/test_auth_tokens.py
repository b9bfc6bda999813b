"""Which tokens are believed, and where the keys come from."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import assume, given, strategies as st
from jwt.algorithms import ECAlgorithm

from sample.settings import Settings
from twinport.auth import AuthSettings, Principal
from twinport.auth.keys import KeyFile, KeyRing, KeyUrl
from twinport.auth.permissions import Credentials
from twinport.auth.tokens import Tokens
from twinport.errors import UnauthenticatedError, UnavailableError

from support.callers import ByRest, ByRpc
from support.issuer import AUDIENCE, ISSUER, Issuer, KeyServer, good_claims

HS = "HS256"


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


def chosen(keys: str | Path, **more: Any) -> AuthSettings:
    return AuthSettings(mode="jwt", issuer=ISSUER, audience=AUDIENCE, keys=str(keys), **more)


@asynccontextmanager
async def tokens(settings: AuthSettings, cooldown_s: float = 0) -> AsyncIterator[Tokens]:
    source = (KeyUrl if settings.keys_are_remote else KeyFile)(settings)
    ring = KeyRing(source, settings.refresh, cooldown_s)
    async with source.opened(), ring.running():
        yield Tokens(settings, ring)


async def believed(tokens: Tokens, token: str) -> Principal:
    return await tokens(Credentials([f"Bearer {token}"]))


async def is_refused(tokens: Tokens, token: str) -> bool:
    with pytest.raises(UnauthenticatedError):
        await believed(tokens, token)
    return True


def segment(content: Any) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def signed_with_text(issuer: Issuer, secret: bytes) -> str:
    """Sign as HS256 with what everybody knows, as PyJWT itself would refuse to."""
    body = f"{segment({'alg': HS, 'kid': issuer.kid})}.{segment(good_claims())}"
    return f"{body}.{segment(hmac.digest(secret, body.encode(), hashlib.sha256))}"


def by(issuer: Issuer, **headers: Any) -> str:
    return jwt.encode(good_claims(), issuer.key, "ES256", {"kid": issuer.kid, **headers})


def with_own_key(issuer: Issuer, **headers: Any) -> str:
    own = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(good_claims(), own, "ES256", {"kid": issuer.kid, **headers})


def signed(issuer: Issuer, claims: str, header: str = "") -> str:
    """Sign texts as they are, with `header` at the end of the header."""
    head = f'{{"alg": "ES256", "kid": "{issuer.kid}"{header}}}'
    body = f"{segment(head.encode())}.{segment(claims.encode())}"
    algorithm = ECAlgorithm(ECAlgorithm.SHA256, ec.SECP256R1)
    return f"{body}.{segment(algorithm.sign(body.encode(), issuer.key))}"


def with_more(issuer: Issuer, claims: str) -> str:
    return signed(issuer, f"{json.dumps(good_claims())[:-1]}, {claims}}}")


def tampered(issuer: Issuer) -> str:
    head, _, signature = issuer.token().split(".")
    return f"{head}.{segment(good_claims(sub='root'))}.{signature}"


def without_signature(issuer: Issuer) -> str:
    return issuer.token().rpartition(".")[0] + "."


def by_rsa(issuer: Issuer) -> str:
    return jwt.encode(
        good_claims(), rsa.generate_private_key(65537, 2048), "RS256", {"kid": issuer.kid}
    )


def raw_point(issuer: Issuer) -> bytes:
    return issuer.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


JWK = {"kty": "oct", "k": segment(b"secret")}
ATTACKS: dict[str, Callable[[Issuer], str]] = {
    "none algorithm": lambda i: f"{segment({'alg': 'none'})}.{segment(good_claims())}.",
    "None algorithm": lambda i: f"{segment({'alg': 'nOnE'})}.{segment(good_claims())}.",
    "no algorithm": lambda i: f"{segment({'kid': i.kid})}.{segment(good_claims())}.x",
    "public key as secret": lambda i: signed_with_text(i, i.pem),
    "public key without end of line": lambda i: signed_with_text(i, i.pem.strip()),
    "public point as secret": lambda i: signed_with_text(i, raw_point(i)),
    "JWK as secret": lambda i: signed_with_text(i, json.dumps(i.jwks["keys"][0]).encode()),
    "empty secret": lambda i: signed_with_text(i, b""),
    "wrong key": with_own_key,
    "other algorithm": by_rsa,
    "own key in the header": lambda i: with_own_key(i, jwk=i.jwks["keys"][0]),
    "symmetric key in the header": lambda i: with_own_key(i, jwk=JWK),
    "jku": lambda i: with_own_key(i, jku="http://127.0.0.1:1/jwks"),
    "x5u": lambda i: with_own_key(i, x5u="http://127.0.0.1:1/cert"),
    "unknown critical header": lambda i: by(i, crit=["exp2"], exp2=1),
    "detached payload": lambda i: by(i, b64=False, crit=["b64"]),
    "kid of nobody": lambda i: i.token({"kid": "nobody"}),
    "kid as a path": lambda i: with_own_key(i, kid="../../../../dev/null"),
    "kid as SQL": lambda i: with_own_key(i, kid="' UNION SELECT 'key"),
    "kid as a list": lambda i: f"{segment({'alg': 'ES256', 'kid': [i.kid]})}.{segment({})}.x",
    "tampered": tampered,
    "without signature": without_signature,
    "zero signature": lambda i: f"{without_signature(i)}{segment(bytes(64))}",
    "expired": lambda i: i.token(exp=time.time() - 31),
    "expired as text": lambda i: i.token(exp="tomorrow"),
    "expires never": lambda i: i.token(exp=None),
    "expires as digits": lambda i: i.token(exp=str(int(time.time() + 60))),
    "expires as true": lambda i: i.token(exp=True),
    "valid since digits": lambda i: i.token(nbf="1"),
    "valid since true": lambda i: i.token(nbf=True),
    "issued as digits": lambda i: i.token(iat="1"),
    "issued as true": lambda i: i.token(iat=True),
    "subject as a number": lambda i: i.token(sub=7),
    "empty subject": lambda i: i.token(sub=""),
    "audiences that are no texts": lambda i: i.token(aud=[AUDIENCE, 7]),
    "scope as a number": lambda i: i.token(scope=7),
    "scope as a table": lambda i: i.token(scope={"orders:read": True}),
    "scopes that are no texts": lambda i: i.token(scope=["orders:read", 7]),
    "subject twice": lambda i: with_more(i, '"sub": "root"'),
    "scope twice": lambda i: with_more(i, '"scope": "admin"'),
    "twice within a claim": lambda i: with_more(i, '"realm": {"roles": [], "roles": ["admin"]}'),
    "claim that is no JSON": lambda i: with_more(i, '"a": NaN'),
    "claims in UTF-16": lambda i: jwt.PyJWS().encode(
        json.dumps(good_claims()).encode("utf-16"), i.key, "ES256", {"kid": i.kid}
    ),
    "algorithm twice": lambda i: signed(i, json.dumps(good_claims()), ', "alg": "ES256"'),
    "kid twice": lambda i: signed(i, json.dumps(good_claims()), f', "kid": "{i.kid}"'),
    "expires at infinity": lambda i: i.token(exp=float("inf")),
    "not yet valid": lambda i: i.token(nbf=time.time() + 60),
    "issued tomorrow": lambda i: i.token(iat=time.time() + 86_400),
    "wrong audience": lambda i: i.token(aud="other"),
    "audience as a part": lambda i: i.token(aud=AUDIENCE[:-1]),
    "wrong audiences": lambda i: i.token(aud=["other", "another"]),
    "no audience": lambda i: i.token(aud=None),
    "wrong issuer": lambda i: i.token(iss=f"{ISSUER}.attacker.test"),
    "no issuer": lambda i: i.token(iss=None),
    "no subject": lambda i: i.token(sub=None),
    "no claims": lambda i: jwt.encode({}, i.key, "ES256", {"kid": i.kid}),
    "huge": lambda i: i.token(padding="x" * 8_000),
    "nested": lambda i: f"{segment(b'[' * 5_000)}.{segment(b'[' * 500)}.x",
    "claims as a list": lambda i: f"{segment({'alg': 'ES256', 'kid': i.kid})}.{segment([])}.x",
    "five parts": lambda i: f"{i.token()}.x.y",
    "no parts": lambda i: "token",
    "nothing": lambda i: "",
    "spaces": lambda i: f"{i.token()} {i.token()}",
    "not ASCII": lambda i: "tökén",
}
UNSENDABLE = {"nothing", "not ASCII"}  # the clients themselves refuse to


@pytest.mark.parametrize("kind", [ByRest, ByRpc])
async def test_no_attack_gets_in(kind, issuer, settings, serving, tmp_path):
    auth = chosen(issuer.show_in(tmp_path))
    async with serving(settings.model_copy(update={"auth": auth})) as ports:
        caller = kind(ports)
        assert await caller.call("ListOrders", issuer.token()) == "OK"
        texts = {name: make(issuer) for name, make in ATTACKS.items() if name not in UNSENDABLE}
        ends = {name: await caller.call("ListOrders", text) for name, text in texts.items()}
        assert ends == dict.fromkeys(texts, "UNAUTHENTICATED")
        await caller.close()


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_bad_token_is_refused_without_a_word_about_it(name, issuer, tmp_path):
    async with tokens(chosen(issuer.show_in(tmp_path))) as trusted:
        with pytest.raises(UnauthenticatedError) as refused:
            await believed(trusted, ATTACKS[name](issuer))
        assert str(refused.value) == "the token is not valid"
        assert refused.value.__cause__ is None


@given(at=st.integers(0, 10_000), text=st.text(max_size=3))
def test_whatever_else_comes_is_refused(at, text, tmp_path_factory):
    issuer = Issuer()
    good = issuer.token()
    begin = at % len(good)
    changed = good[:begin] + text + good[begin + 1 :]
    assume(changed.strip(" ").rstrip("=") != good)

    async def check() -> None:
        async with tokens(chosen(issuer.show_in(tmp_path_factory.getbasetemp()))) as trusted:
            await believed(trusted, changed)

    with pytest.raises(UnauthenticatedError):
        asyncio.run(check())


GOOD = [
    (lambda _: {"aud": ["other", AUDIENCE]}, {"orders:read", "orders:write"}),
    (lambda now: {"exp": now - 5}, {"orders:read", "orders:write"}),
    (lambda now: {"nbf": now + 5}, {"orders:read", "orders:write"}),
    (lambda _: {"scope": ["orders:read", "a b"]}, {"orders:read", "a b"}),
    (lambda _: {"scope": ""}, set()),
    (lambda _: {"scope": None}, set()),
    (lambda now: {"iat": now, "nbf": 0}, {"orders:read", "orders:write"}),
]


@pytest.mark.parametrize(("claims", "scopes"), GOOD)
async def test_a_good_token_names_its_subject_and_scopes(claims, scopes, issuer, tmp_path):
    settings = chosen(issuer.show_in(tmp_path), leeway=timedelta(minutes=5))
    async with tokens(settings) as trusted:
        who = await believed(trusted, token := issuer.token(**claims(time.time())))
    assert (who.subject, who.scopes) == ("alice", scopes)
    assert who.claims["iss"] == ISSUER
    assert token not in f"{who} {who!r}"


async def test_keys_may_be_pem_and_several(issuer, tmp_path):
    path = tmp_path / "keys.pem"
    path.write_bytes(Issuer().pem + issuer.pem)
    async with tokens(chosen(path)) as trusted:
        assert str(await believed(trusted, issuer.token({}))) == "alice"
        assert str(await believed(trusted, issuer.token())) == "alice"


@pytest.mark.parametrize("change", [{"use": "enc"}, {"kty": "oct", "k": "c2VjcmV0"}, {"alg": HS}])
async def test_a_key_for_something_else_verifies_nothing(change, issuer, tmp_path):
    other = Issuer()
    keys = [issuer.jwks["keys"][0] | change, *other.jwks["keys"]]
    (tmp_path / "keys.json").write_text(json.dumps({"keys": keys}), encoding="utf-8")
    async with tokens(chosen(tmp_path / "keys.json")) as trusted:
        assert str(await believed(trusted, other.token())) == "alice"
        for token in (issuer.token(), issuer.token({}), signed_with_text(issuer, b"secret")):
            assert await is_refused(trusted, token)


async def test_a_changed_key_file_is_read_again(issuer, tmp_path):
    path = issuer.show_in(tmp_path)
    async with tokens(chosen(path)) as trusted:
        await believed(trusted, issuer.token())
        issuer.rotate()
        issuer.show_in(tmp_path)
        assert str(await believed(trusted, issuer.token())) == "alice"


@pytest.fixture
async def server(issuer: Issuer) -> AsyncIterator[KeyServer]:
    server = KeyServer(issuer)
    async with server.running():
        yield server


async def test_many_waiting_calls_share_one_fetch(issuer, server):
    server.go_on.clear()
    async with tokens(chosen(server.url)) as trusted:
        calls = [asyncio.create_task(believed(trusted, issuer.token())) for _ in range(50)]
        await asyncio.wait(calls, timeout=0.1)
        assert not any(call.done() for call in calls)
        server.go_on.set()
        assert {str(who) for who in await asyncio.gather(*calls)} == {"alice"}
    assert server.fetches == 1


async def test_a_new_key_is_fetched_when_its_first_token_comes(issuer, server):
    async with tokens(chosen(server.url)) as trusted:
        await believed(trusted, issuer.token())
        issuer.rotate()
        await asyncio.gather(*(believed(trusted, issuer.token()) for _ in range(20)))
    assert server.fetches == 2


async def test_who_shows_the_keys_gets_no_cookie_back(issuer, server):
    async with tokens(chosen(server.url)) as trusted:
        await believed(trusted, issuer.token())
        issuer.rotate()
        await believed(trusted, issuer.token())
    assert ["cookie" in head.decode().lower() for head in server.heads] == [False] * 2


async def test_tokens_of_unknown_keys_cannot_make_us_fetch_all_the_time(issuer, server):
    async with tokens(chosen(server.url), cooldown_s=60) as trusted:
        await believed(trusted, issuer.token())
        for number in range(20):
            assert await is_refused(trusted, issuer.token({"kid": str(number)}))
        assert str(await believed(trusted, issuer.token())) == "alice"
    assert server.fetches == 1


async def test_old_keys_stay_while_the_issuer_is_away(issuer):
    server = KeyServer(issuer)
    async with AsyncExitStack() as stack:
        async with server.running():
            settings = chosen(server.url).model_copy(update={"refresh": timedelta(0)})
            trusted = await stack.enter_async_context(tokens(settings))
            await believed(trusted, issuer.token())
        for _ in range(3):
            assert str(await believed(trusted, issuer.token())) == "alice"


async def test_an_issuer_that_is_back_is_asked_again(issuer):
    server = KeyServer(issuer)
    async with AsyncExitStack() as stack:
        async with server.running():
            trusted = await stack.enter_async_context(tokens(chosen(server.url)))
            await believed(trusted, issuer.token())
        issuer.rotate()
        assert await is_refused(trusted, issuer.token())
        async with server.running():
            assert str(await believed(trusted, issuer.token())) == "alice"


async def test_keys_that_are_taken_away_are_forgotten(issuer, server):
    settings = chosen(server.url).model_copy(update={"refresh": timedelta(0)})
    async with tokens(settings) as trusted:
        await believed(trusted, stolen := issuer.token())
        issuer.rotate()
        await believed(trusted, issuer.token())
        assert await is_refused(trusted, stolen)


async def test_nobody_is_judged_before_the_keys_are_there(issuer):
    async with KeyServer(issuer).running():
        pass
    async with tokens(chosen("http://127.0.0.1:1/jwks")) as trusted:
        with pytest.raises(UnavailableError):
            await believed(trusted, issuer.token())


async def test_readiness_waits_for_the_first_keys(issuer, settings: Settings, serving):
    server = KeyServer(issuer)
    async with server.running():
        pass
    auth = chosen(server.url)
    async with (
        serving(settings.model_copy(update={"auth": auth})) as ports,
        httpx2.AsyncClient() as http,
    ):
        answer = await http.get(f"http://127.0.0.1:{ports.management}/readyz")
        assert (answer.status_code, list(answer.json()["checks"])) == (503, ["auth"])
        for kind in (ByRest, ByRpc):
            caller = kind(ports)
            assert await caller.call("ListOrders", issuer.token()) == "UNAVAILABLE"
            await caller.close()
