"""Behind proxies: those that are trusted say who called, and nobody else does."""

from typing import Any

import pytest
from fastapi import Request
from pydantic import ValidationError

from twinport import Service, Settings, testing

HERE = ["127.0.0.0/8"]
TWO = [*HERE, "10.0.0.0/8", "2001:db8:1::/48"]
ITSELF = ("127.0.0.1", "http")  # what is seen of a request that no proxy speaks for
XFF, PROTO, FORWARDED = "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded"
Sent = list[tuple[str, str]]

# The headers, who is trusted, and client and scheme as the service sees them.
SAID: list[tuple[Sent, list[str], tuple[str, str]]] = [
    ([], HERE, ITSELF),
    ([(XFF, "203.0.113.9"), (PROTO, "https")], HERE, ("203.0.113.9", "https")),
    ([(XFF, "203.0.113.9")], HERE, ("203.0.113.9", "http")),
    ([(PROTO, "HTTPS")], HERE, ("127.0.0.1", "https")),
    ([(XFF, "203.0.113.9:4711")], HERE, ("203.0.113.9", "http")),
    ([(XFF, "2001:db8::9")], HERE, ("2001:db8::9", "http")),
    ([(XFF, "[2001:DB8::9]:4711")], HERE, ("2001:db8::9", "http")),
    ([(XFF, "::ffff:203.0.113.9")], HERE, ("203.0.113.9", "http")),
    # what a stranger has said before the proxy
    ([(XFF, "1.1.1.1, 203.0.113.9")], HERE, ("203.0.113.9", "http")),
    ([(XFF, "1.1.1.1"), (XFF, "203.0.113.9")], HERE, ("203.0.113.9", "http")),
    ([(XFF, "127.0.0.1, 203.0.113.9")], HERE, ("203.0.113.9", "http")),
    ([(XFF, "203.0.113.9"), (PROTO, "https, http")], HERE, ("203.0.113.9", "http")),
    # two proxies, one behind the other
    ([(XFF, "203.0.113.9, 10.0.0.7")], TWO, ("203.0.113.9", "http")),
    ([(XFF, "203.0.113.9, 2001:db8:1::7")], TWO, ("203.0.113.9", "http")),
    ([(XFF, "203.0.113.9, 10.0.0.7")], HERE, ("10.0.0.7", "http")),
    ([(XFF, "1.1.1.1, 203.0.113.9, 10.0.0.7")], TWO, ("203.0.113.9", "http")),
    ([(XFF, "203.0.113.9, 10.0.0.7"), (PROTO, "https, http")], TWO, ("203.0.113.9", "https")),
    ([(XFF, "203.0.113.9, 10.0.0.7"), (PROTO, "https")], TWO, ("203.0.113.9", "https")),
    ([(XFF, "10.0.0.8, 10.0.0.7")], TWO, ("10.0.0.8", "http")),  # from within
    # what is no address
    ([(XFF, "unknown")], HERE, ITSELF),
    ([(XFF, "")], HERE, ITSELF),
    ([(XFF, "a b, <script>")], HERE, ITSELF),
    ([(XFF, "unknown, 10.0.0.7")], TWO, ("10.0.0.7", "http")),
    ([(XFF, "999.0.0.1")], HERE, ITSELF),
    ([(PROTO, "javascript")], HERE, ITSELF),
    # RFC 7239
    ([(FORWARDED, "for=203.0.113.9;proto=https")], HERE, ("203.0.113.9", "https")),
    ([(FORWARDED, 'For="[2001:db8::9]:4711"; PROTO=https')], HERE, ("2001:db8::9", "https")),
    ([(FORWARDED, "for=1.1.1.1, for=203.0.113.9")], HERE, ("203.0.113.9", "http")),
    (
        [(FORWARDED, "for=203.0.113.9;proto=https"), (FORWARDED, "for=10.0.0.7;proto=http")],
        TWO,
        ("203.0.113.9", "https"),
    ),
    ([(FORWARDED, "for=_hidden;proto=https")], HERE, ("127.0.0.1", "https")),
    ([(FORWARDED, "by=203.0.113.9;host=evil.example")], HERE, ITSELF),
    # both: a proxy writes one, and passes the other on
    ([(XFF, "203.0.113.9"), (FORWARDED, "for=203.0.113.9")], HERE, ("203.0.113.9", "http")),
    ([(XFF, "203.0.113.9"), (FORWARDED, "for=1.1.1.1")], HERE, ITSELF),
    ([(PROTO, "https"), (FORWARDED, "proto=http")], HERE, ITSELF),
    # never
    ([("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Prefix", "/evil")], HERE, ITSELF),
    ([("X-Real-IP", "1.1.1.1")], HERE, ITSELF),
]
STRANGERS = [[], ["10.0.0.0/8"], ["128.0.0.1"], ["::/0"]]


async def told(service: Service, _: Settings) -> None:
    @service.rest.get("/x")
    async def x(request: Request) -> dict[str, Any]:
        assert request.client is not None
        return {"client": request.client.host, "url": str(request.url_for("x"))}


async def seen(sent: Sent, trusted: list[str]) -> tuple[str, str]:
    """Return client and scheme, which all places agree about."""
    settings = testing.free(Settings, {"http.trusted_proxies": trusted})
    async with testing.serving(settings, told) as service:
        answer = (await service.rest.get("/x", headers=[("Host", "shop.example"), *sent])).json()
        await service.ended_calls()
        (line,) = [line for line in service.lines if line.get("url.path") == "/x"]
    scheme, rest = answer["url"].split("://")
    assert rest == "shop.example/x"
    assert line["client.address"] == answer["client"]
    assert line.get("client.port") != 0
    return answer["client"], scheme


@pytest.mark.parametrize(("sent", "trusted", "expected"), SAID)
async def test_a_trusted_proxy_says_who_called_and_how(sent, trusted, expected):
    assert await seen(sent, trusted) == expected


@pytest.mark.parametrize("trusted", STRANGERS)
async def test_from_anybody_else_such_headers_change_nothing(trusted):
    sent = [(XFF, "203.0.113.9"), (PROTO, "https"), (FORWARDED, "for=203.0.113.9;proto=https")]
    assert await seen(sent, trusted) == ITSELF


@pytest.mark.parametrize("trusted", ["everybody", "10.0.0.1/8", "10.0.0.0/33", ""])
def test_what_is_no_network_is_a_mistake(trusted):
    with pytest.raises(ValidationError, match="trusted_proxies"):
        testing.free(Settings, {"http.trusted_proxies": [trusted]})
