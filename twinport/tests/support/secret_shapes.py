"""The shapes in which a secret may stand in a text: each with what makes such a text."""

import base64
import json
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from hypothesis import strategies as st

from twinport.redact import NAMES

HEAD, TAIL = "hunter2Begin", "2dnEretnuh"  # of each secret: neither may be seen anywhere


class Pair(NamedTuple):
    """As gRPC shows its metadata."""

    key: str
    value: str


def in_json(name: str, secret: str) -> str:
    return json.dumps({"a": 1, name: secret, "b": [2]})


def in_dict(name: str, secret: str) -> str:
    return repr({"a": 1, name: secret, "b": [2]})


def of_bytes(name: str, secret: str) -> tuple[bytes, bytes]:
    return name.encode(), secret.encode("utf-8", "surrogatepass")


# Quoted, so that any text may be the secret.
QUOTED = {
    "JSON": in_json,
    "JSON in JSON": lambda n, s: json.dumps({"body": in_json(n, s), "b": 2}),
    "JSON in JSON in JSON": lambda n, s: json.dumps([json.dumps({"body": in_json(n, s)})]),
    "JSON, indented": lambda n, s: json.dumps({n: {"x": [s, 1]}, "b": 2}, indent=2),
    "JSON, compact": lambda n, s: json.dumps({n: s, "b": 2}, separators=(",", ":")),
    "JSON, a list": lambda n, s: json.dumps({n: ["(", s, "]"]}),
    "JSON, pairs": lambda n, s: json.dumps([["a", "b"], [n, s]]),
    "JSON, name and value": lambda n, s: json.dumps([{"name": n, "value": s}]),
    "JSON, of a dict": lambda n, s: json.dumps({"m": in_dict(n, s)}),
    "a dict": in_dict,
    "a dict of JSON": lambda n, s: repr({"body": in_json(n, s)}),
    "a dict of bytes": lambda n, s: repr(dict([of_bytes(n, s)])),
    "bytes of JSON": lambda n, s: repr(in_json(n, s).encode()),
    "a dict of lists": lambda n, s: repr({n: [s, "'"], "b": 2}),
    "pairs": lambda n, s: repr([("a", "b"), (n, s)]),
    "pairs of bytes, as ASGI has them": lambda n, s: repr([(b"a", b"b"), of_bytes(n, s)]),
    "lists of bytes": lambda n, s: repr([list(of_bytes(n, s))]),
    "metadata of gRPC": lambda n, s: repr((Pair("a", "b"), Pair(n, s))),
    "an object": lambda n, s: f"Login(user='ann', {n}={s!r})",
    "an object in it": lambda n, s: f"Login({n}=Token(value={s!r}), user='ann')",
    "TOML": lambda n, s: f"{n} = {json.dumps(s)}",
    "an index": lambda n, s: f"environ[{n!r}] = {s!r}",
    "arguments": lambda n, s: repr(["psql", f"--{n}", s]),
}
# What ends a secret here is no part of it.
PLAIN = {
    "name=value": lambda n, s: f"{n}={s}, b=2",
    "name = value": lambda n, s: f"{n} = {s}",
    "name: value": lambda n, s: f"{n}: {s}",
    "name: scheme value": lambda n, s: f"{n}: Bearer {s}",
    "query": lambda n, s: f"GET /a?{n}={s}&b=2",
    "query of arrays": lambda n, s: f"GET /a?user[{n}]={s}&{n}[]={s}",
    "percent-encoded": lambda n, s: quote(f"{n}={s}&b=2"),
    "percent-encoded twice": lambda n, s: quote(quote(f"a=1&{n}={s}&b=2")),
    "percent-encoded JSON": lambda n, s: quote(in_json(n, s)),
    "percent-encoded form in a query": lambda n, s: f"/a?next={quote(f'/b?{n}={s}&c=3')}&d=4",
    "JSON of a line": lambda n, s: json.dumps({"m": f"said\n{n}={s}"}),
    "argument": lambda n, s: f"psql --{n} {s} -h db",
    "argument with =": lambda n, s: f"psql --{n}={s} -h db",
    "connection": lambda n, s: f"Server=db;{n}={s};Database=shop",
}
SCHEMES = ("Bearer", "Basic", "Token", "Digest", "ApiKey", "AWS4-HMAC-SHA256", "BEARER", "basic")
HEADERS = ("Authorization", "authorization", "PROXY-AUTHORIZATION", "Cookie", "set-cookie")
HEADER_LINES = {  # the name is that of a header, whose value has blanks and signs of its own
    "a header": lambda n, s: f"{n}: a={s}; Path=/; b={s}\nHost: x",
    "a request": lambda n, s: repr(f"GET / HTTP/1.1\r\n{n}: a=1; b={s}\r\nHost: x\r\n"),
    "a header, =": lambda n, s: f"{n}=Token {s}",
    "a header with quotes": lambda n, s: f'{n}: Digest username="ann", response="{s}"',
    "a header with an apostrophe": lambda n, s: f"{n}: a=O'Brien; b={s}",
    "a header within quotes": lambda n, s: json.dumps({"m": f'{n}: Digest a="b c", d="{s}"'}),
    "headers of a dict": lambda n, s: repr({n: f"a=1; b={s}", "host": "x"}),
    "headers of ASGI": lambda n, s: repr([(n.encode(), f"a=1; b={s}".encode())]),
    "percent-encoded header": lambda n, s: quote(f"{n}=Token {s}&b=2"),
    **{scheme: (lambda n, s, scheme=scheme: f"{n}: {scheme} {s}") for scheme in SCHEMES},
}
NAMELESS = {
    "URL": lambda _, s: f"to https://ann:{s}@host:5432/a?b=2",
    "URL with a token alone": lambda _, s: f"git+https://{s.replace('/', '-')}@host/x.git",
    "percent-encoded URL": lambda _, s: quote(f"https://ann:{quote(s, '')}@host/", ""),
    "Bearer anywhere": lambda _, s: f"sent Bearer {s} to b",
    "BEARER anywhere": lambda _, s: f"sent BEARER {s} to b",
    "Basic anywhere": lambda _, s: f"sent Basic {base64_of(s)} to b",
    "basic anywhere": lambda _, s: f"sent basic {base64_of(s)} to b",
    "JWT": lambda _, s: f"got {jwt(s)}!",
    "JWT in a path": lambda _, s: f"/a/{jwt(s)}/b",
    "JWT after an escape": lambda _, s: quote(f"a={jwt(s)}") + json.dumps(f"\n{jwt(s)}"),
    "private key": lambda _, s: pem(s),
    "private key in JSON": lambda _, s: json.dumps({"m": pem(s)}),
}


def base64_of(secret: str) -> str:
    """Return what holds the secret as it is, so that it can be looked for."""
    return "".join(character for character in secret if character.isalnum())


def jwt(secret: str) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"HS256"}').decode().rstrip("=")
    return f"{header}.{base64_of(secret)}.{base64_of(secret)}"


def pem(secret: str) -> str:
    return f"-----BEGIN EC PRIVATE KEY-----\n{secret}\n-----END EC PRIVATE KEY-----"


def _within(characters: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return characters.map(lambda middle: f"{HEAD}{middle}{TAIL}")


def _styles(name: str) -> list[str]:
    words = name.split("_")
    camel = "".join(word.capitalize() for word in words)
    return [name, name.upper(), f"db_{name}", f"x-{'-'.join(words)}", f"user{camel}", f"X-{camel}"]


PLAIN_SECRETS = _within(
    st.text("abcXYZ0189-._~+/") | st.text("abcXYZ0189-._~+/", min_size=50, max_size=200)
)
ANY_SECRETS = _within(st.text()) | _within(st.text("a\\\"'(]}% =&;,:\n"))
SECRET_NAMES = st.sampled_from([style for name in NAMES for style in _styles(name)])


def _texts(
    shapes: dict[str, Callable[[str, str], str]],
    names: st.SearchStrategy[str],
    secrets: st.SearchStrategy[str],
) -> st.SearchStrategy[str]:
    made = st.tuples(st.sampled_from(sorted(shapes)), names, secrets)
    return made.map(lambda drawn: shapes[drawn[0]](*drawn[1:]))


# Texts that hold a secret, of all shapes.
TEXTS: st.SearchStrategy[str] = st.one_of(
    _texts(QUOTED, SECRET_NAMES, ANY_SECRETS),
    _texts(PLAIN, SECRET_NAMES, PLAIN_SECRETS),
    _texts(HEADER_LINES, st.sampled_from(HEADERS), PLAIN_SECRETS),
    _texts(NAMELESS, st.just(""), PLAIN_SECRETS),
)
# Fields that hold one, as structures.
FIELDS: st.SearchStrategy[dict[str, Any]] = st.tuples(SECRET_NAMES, ANY_SECRETS).flatmap(
    lambda drawn: st.sampled_from(
        [
            {drawn[0]: drawn[1]},
            {"a": {"b": [{drawn[0]: {"c": drawn[1]}}]}},
            {"headers": [("a", "b"), (drawn[0], drawn[1])]},
            {"headers": [[drawn[0], drawn[1]]]},
            {"headers": [of_bytes(*drawn)]},
            {"headers": dict([of_bytes(*drawn)])},
            {"environment": [{"name": drawn[0], "value": drawn[1]}]},
            {"metadata": (Pair(*drawn),)},
            {"body": json.dumps({drawn[0]: drawn[1]}).encode()},
            {"seen": {drawn[0]: drawn[1]}.items()},
            {f"{drawn[0]}s": [drawn[1]]},
            {jwt(drawn[1]): 1},
        ]
    )
)


def leaks(shown: object) -> list[str]:
    """Return the parts of a secret that can be seen in it."""
    return [part for part in (HEAD, TAIL) if part in str(shown)]
