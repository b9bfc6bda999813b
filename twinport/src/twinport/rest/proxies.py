"""What a trusted proxy says of a request: who sent it, and whether over TLS."""

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

FOR, PROTO, FORWARDED = b"x-forwarded-for", b"x-forwarded-proto", b"forwarded"
HEADERS = frozenset({FOR, PROTO, FORWARDED})
SCHEMES = frozenset({"http", "https"})
PAIR = re.compile(r'\s*(for|proto)\s*=\s*(?:"([^"]*)"|([^;,"\s]*))\s*', re.IGNORECASE)
NODE = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::(\d{1,5}))?|(\d+(?:\.\d+){3})(?::(\d{1,5}))?")


class Hop(NamedTuple):
    """What one proxy says of whoever called it; empty where it says nothing."""

    node: str = ""
    scheme: str = ""


class Origin(NamedTuple):
    """Where a request came from, as far as proxies that are trusted say; None is unsaid."""

    client: tuple[str, int] | None
    scheme: str | None


def behind_proxies(app: ASGIApp, trusted: Sequence[Network]) -> ASGIApp:
    """Return `app`, which sees whom the `trusted` proxies speak for; `app` itself if none is."""
    if not trusted:
        return app

    async def seen_through(scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if client is not None and _is_in(trusted, _address(client[0])):
            _apply(scope, _origin(scope["headers"], trusted))
        await app(scope, receive, send)

    return seen_through


def _apply(scope: Scope, origin: Origin) -> None:
    if origin.client is not None:
        scope["client"] = origin.client
    if origin.scheme is not None:
        scope["scheme"] = origin.scheme


def _origin(headers: Sequence[tuple[bytes, bytes]], trusted: Sequence[Network]) -> Origin:
    """Return where the request came from, but for what two headers do not agree upon.

    A proxy writes one kind, and may pass on the other as a stranger has sent it.
    """
    texts: dict[bytes, list[str]] = {}
    for name, value in headers:
        if name in HEADERS:
            texts.setdefault(name, []).append(value.decode("latin-1"))
    said = [_through(hops, trusted) for hops in (_x_forwarded(texts), _forwarded(texts))]
    clients = sorted(origin.client for origin in said if origin.client is not None)
    schemes = {origin.scheme for origin in said if origin.scheme is not None}
    is_one = len({address for address, _ in clients}) == 1
    return Origin(
        clients[-1] if is_one else None,  # the one whose port is known
        schemes.pop() if len(schemes) == 1 else None,
    )


def _x_forwarded(texts: dict[bytes, list[str]]) -> Iterator[Hop]:
    """Yield what X-Forwarded-For and -Proto say, the nearest first."""
    nodes, schemes = _listed(texts.get(FOR, [])), _listed(texts.get(PROTO, []))
    schemes = schemes or [""]
    for index, node in enumerate(nodes or [""]):
        # A proxy that sets the scheme anew leaves one for all of them.
        yield Hop(node, schemes[min(index, len(schemes) - 1)])


def _forwarded(texts: dict[bytes, list[str]]) -> Iterator[Hop]:
    """Yield what Forwarded says (RFC 7239), the nearest first."""
    for element in _listed(texts.get(FORWARDED, [])):
        pairs = {name.lower(): quoted or plain for name, quoted, plain in PAIR.findall(element)}
        yield Hop(pairs.get("for", ""), pairs.get("proto", ""))


def _listed(values: Sequence[str]) -> list[str]:
    return [part.strip() for part in ",".join(values).split(",")][::-1] if values else []


def _through(hops: Iterable[Hop], trusted: Sequence[Network]) -> Origin:
    """Return what the last trusted proxy says, on the way from the nearest one outwards."""
    origin = Origin(None, None)
    for hop in hops:
        client = _node(hop.node)
        scheme = hop.scheme.lower() if hop.scheme.lower() in SCHEMES else None
        origin = Origin(client or origin.client, scheme or origin.scheme)
        if client is None or not _is_in(trusted, _address(client[0])):
            break
    return origin


def _node(text: str) -> tuple[str, int] | None:
    """Return address and port (0 if it is unsaid); None for what is no address."""
    match = NODE.fullmatch(text)
    address = _address((match[1] or match[3]) if match else text)
    if address is None:
        return None
    return str(address), int((match[2] or match[4] or 0) if match else 0)


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_in(networks: Sequence[Network], address: Address | None) -> bool:
    return address is not None and any(address in network for network in networks)
