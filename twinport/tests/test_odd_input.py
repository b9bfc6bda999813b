"""Whatever strangers send to a port, none of it is a WARNING or an ERROR of the log."""

import asyncio
import random
import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    SettingsFrame,
)

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from twinport import profiling
from twinport.service.ports import Ports
from twinport.tls.authority import Authority, write

from support.process import Service, started
from support.wire import PREFACE

PATIENCE_S = 0.5  # with a port that waits for more: the next is sent to it all the same
HANDSHAKE_S = 5.0
TOO_MUCH = {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
MUTANTS = 15
AT_ONCE = 40
POST = b"POST /v1/orders HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
LINES = POST.replace(b"orders ", b"orders:import ").replace(b"/json", b"/jsonl")
ORDER = b'{"sku":"tea","quantity":1}'

HTTP_1 = {
    "nothing": b"",
    "a line end": b"\r\n\r\n\r\n",
    "no HTTP": b"hello\r\n\r\n",
    "zeros": bytes(100),
    "bytes of no ASCII": bytes(range(256)),
    "half a head": b"GET / HTTP/1.1\r\nhost:",
    "a method of no ASCII": b"\xff\xfe / HTTP/1.1\r\nhost: a\r\n\r\n",
    "a path of no ASCII": b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
    "an escape of no UTF-8": b"GET /v1/orders/%ff%fe?%ff=%fe HTTP/1.1\r\nhost: a\r\n\r\n",
    "a whole URL": b"GET http://[::1/%zz HTTP/1.1\r\nhost: a\r\n\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    "CONNECT": b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\nhost: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a large head": b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"x" * 100_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 5000 + b"\r\n",
    "an upgrade": b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    "a WebSocket": b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
    "two lengths": POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "a length and chunks": POST
    + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "less than the length": POST + b"content-length: 100\r\n\r\n" + ORDER,
    "a length of no number": POST + b"content-length: -1\r\n\r\n",
    "chunks of no number": POST + b"transfer-encoding: chunked\r\n\r\nxyz\r\n",
    "a chunk that is cut": POST + b"transfer-encoding: chunked\r\n\r\nff\r\n{",
    "too large": POST + b"content-length: 99999999999999999999999\r\n\r\n",
    "no JSON": POST + b"content-length: 2\r\n\r\n{'",
    "JSON of no UTF-8": POST + b"content-length: 2\r\n\r\n\xff\xfe",
    "a line that is cut": LINES + b"transfer-encoding: chunked\r\n\r\n5\r\n{'sku\r\n",
    "lines of no JSON": LINES + b"transfer-encoding: chunked\r\n\r\n4\r\n\xff\n{\n\r\n0\r\n\r\n",
    "a deadline of no number": b"GET /v1/orders HTTP/1.1\r\nhost: a\r\ngrpc-timeout: soon\r\n\r\n",
    "traces of no trace": b"GET /v1/orders HTTP/1.1\r\nhost: a\r\ntraceparent: 00-x\r\nb3: \xff\r\n"
    b"x-b3-traceid: z\r\nbaggage: \xff=;,=\r\ntracestate: \x80\r\nx-request-id: \xff\r\n\r\n",
    "a cookie of no ASCII": b"GET /v1/orders HTTP/1.1\r\nhost: a\r\ncookie: \xff\r\n\r\n",
    "a token of no ASCII": b"GET /v1/orders HTTP/1.1\r\nhost: a\r\nauthorization: \xff\r\n\r\n",
    "a range of no number": b"GET /docs HTTP/1.1\r\nhost: a\r\nrange: bytes=z\r\n\r\n",
    "a form that is none": POST.replace(b"application/json", b"multipart/form-data; boundary=")
    + b"content-length: 2\r\n\r\n--",
    "two requests, the second cut": b"GET /v1/orders HTTP/1.1\r\nhost: a\r\n\r\nGET /",
}

PSEUDO = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a")]
GRPC = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
CREATE = b"/sample.orders.v1.OrderService/CreateOrder"
HEADS: Mapping[str, list[tuple[bytes, bytes]]] = {
    "a POST": [*PSEUDO, (b":path", b"/v1/orders")],
    "a call": [*PSEUDO, (b":path", CREATE), *GRPC],
    "no path": PSEUDO,
    "two paths": [*PSEUDO, (b":path", b"/"), (b":path", b"/")],
    "a path of no ASCII": [*PSEUDO, (b":path", b"/\x80\xff")],
    "a name of no ASCII": [*PSEUDO, (b":path", CREATE), *GRPC, (b"\xff", b"a")],
    "upper case": [*PSEUDO, (b":path", CREATE), *GRPC, (b"X-Y", b"a")],
    "a value of bytes": [*PSEUDO, (b":path", CREATE), *GRPC, (b"x", b"\xff\0\r\n")],
    "a -bin of no base64": [*PSEUDO, (b":path", CREATE), *GRPC, (b"x-bin", b"*!\xff")],
    "an encoding": [*PSEUDO, (b":path", CREATE), *GRPC, (b"grpc-encoding", b"zstd")],
    "a timeout": [*PSEUDO, (b":path", CREATE), *GRPC, (b"grpc-timeout", b"1x")],
    "a long timeout": [*PSEUDO, (b":path", CREATE), *GRPC, (b"grpc-timeout", b"9" * 50 + b"H")],
    "no te": [*PSEUDO, (b":path", CREATE), GRPC[0]],
    "text": [*PSEUDO, (b":path", CREATE), (b"content-type", b"text/html")],
    "a GET": [(b":method", b"GET"), *PSEUDO[1:], (b":path", CREATE), *GRPC],
    "another scheme": [PSEUDO[0], (b":scheme", b"ftp"), PSEUDO[2], (b":path", CREATE), *GRPC],
    "much metadata": [*PSEUDO, (b":path", CREATE), *GRPC, *[(b"x", b"y" * 100)] * 400],
    "a user agent of bytes": [*PSEUDO, (b":path", CREATE), *GRPC, (b"user-agent", b"\xff")],
    "an authority of bytes": [*PSEUDO[:2], (b":authority", b"\xff@ "), (b":path", CREATE), *GRPC],
}
MESSAGES = {
    "nothing": b"",
    "a message": b"\0\0\0\0\0",
    "garbage": b"\0\0\0\0\x04\xff\xff\xff\xff",
    "an unknown flag": b"\x02\0\0\0\0",
    "compressed, as is said nowhere": b"\x01\0\0\0\x01a",
    "four gigabytes": b"\0\xff\xff\xff\xff",
    "half a head": b"\0\0",
}
FRAMES = {  # kind, flags, stream and payload (RFC 9113, 6)
    "DATA on no stream": [(0, 0, 0, b"a"), (0, 0, 7, b"a")],
    "RST on no stream": [(3, 0, 0, bytes(4)), (3, 0, 9, bytes(4)), (3, 0, 1, b"a")],
    "CONTINUATION without a head": [(9, 4, 1, b"a")],
    "a stream of the server": [(1, 5, 2, b"\x82")],
    "no HPACK": [(1, 5, 1, b"\xff" * 20)],
    "padding larger than the frame": [(1, 13, 1, b"\xff\x82")],
    "a window of nothing": [(8, 0, 0, bytes(4)), (8, 0, 1, bytes(4)), (8, 0, 0, b"a")],
    "a window too large": [(8, 0, 0, b"\x7f\xff\xff\xff"), (8, 0, 0, b"\x7f\xff\xff\xff")],
    "a PING that is too short": [(6, 0, 0, b"a"), (6, 0, 1, bytes(8))],
    "GOAWAY": [(7, 0, 0, bytes(8)), (7, 0, 1, b"a")],
    "settings of no sense": [(4, 0, 0, b"\0\x04\xff\xff\xff\xff"), (4, 1, 0, b"a"), (4, 0, 3, b"")],
    "a push": [(5, 4, 1, bytes(5))],
    "an unknown kind": [(99, 255, 1, b"a" * 99)],
}


def http_2() -> Iterator[bytes]:
    start = PREFACE + SettingsFrame(0).serialize()
    yield from (PREFACE[:10], PREFACE, PREFACE + bytes(100), start + b"\xff" * 9, PREFACE * 2)
    for head in HEADS.values():
        yield start + b"".join(each.serialize() for each in asked(head, b"\0\0\0\0\0"))
    for message in MESSAGES.values():
        yield start + b"".join(each.serialize() for each in asked(HEADS["a call"], message))
    for frames in FRAMES.values():
        yield start + b"".join(frame(*each) for each in frames)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def asked(head: list[tuple[bytes, bytes]], body: bytes) -> Iterator[Frame]:
    block = Encoder().encode(head)
    parts = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
    for number, part in enumerate(parts):
        kind = ContinuationFrame if number else HeadersFrame
        yield kind(1, part, flags=["END_HEADERS"] if number == len(parts) - 1 else [])
    yield DataFrame(1, body, flags=["END_STREAM"])


def mutants(good: bytes, seed: int) -> Iterator[bytes]:
    """Yield what differs from a good request by some bytes."""
    chance = random.Random(seed)
    for _ in range(MUTANTS):
        mutant = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(mutant))
            mutant[at : at + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 3))
        yield bytes(mutant)


def everything() -> list[bytes]:
    whole = POST + b"content-length: %d\r\n\r\n" % len(ORDER) + ORDER
    message = pb.CreateOrderRequest(sku="tea", quantity=1).SerializeToString()
    framed = struct.pack(">BI", 0, len(message)) + message
    call = b"".join(each.serialize() for each in asked(HEADS["a call"], framed))
    return [
        *HTTP_1.values(),
        *http_2(),
        *mutants(whole, 1),
        *mutants(PREFACE + SettingsFrame(0).serialize() + call, 2),
        HELLO,
        HELLO[:20],
    ]


def hello() -> bytes:
    """Return what a client of TLS says first."""
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(heard, said, server_hostname="a")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return said.read()


HELLO = hello()


async def send(port: int, data: bytes, tls: ssl.SSLContext | None = None) -> None:
    """Send something, and wait until the port says something, or not."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(HANDSHAKE_S):
            opened = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        await say(*opened, data)


async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> None:
    try:
        writer.write(data)
        await asyncio.wait_for(reader.read(1), PATIENCE_S)
    finally:
        writer.transport.abort()


def reset(port: int, data: bytes) -> None:
    """Send something and reset the connection."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(data)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def leave(port: int, data: bytes) -> None:
    """Send something and say that it was all."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


async def send_all(port: int, tls: ssl.SSLContext | None = None) -> None:
    data = everything()
    for begin in range(0, len(data), AT_ONCE):
        await asyncio.gather(*(send(port, each, tls) for each in data[begin : begin + AT_ONCE]))
    for each in data:
        reset(port, each)
        leave(port, each)


def complaints(service: Service) -> list[Any]:
    """Return what is louder than INFO, but for what docs/logs.md says of a call that is too much.

    And of a busy machine.
    """
    loud = [line for line in service.lines if line["log.level"] not in {"info", "debug"}]
    return [*service.plain, *(line for line in loud if not is_expected(line))]


def is_expected(line: Mapping[str, Any]) -> bool:
    if line["log.logger"] == "access":
        return line["log.level"] == "warning" and line["event.code"] in TOO_MUCH
    return bool(line["log.logger"] == profiling.__name__)


async def calls_are_answered(ports: Ports, ca: bytes | None) -> None:
    tls = ssl.create_default_context(cadata=ca.decode()) if ca else True
    url = f"{'https' if ca else 'http'}://127.0.0.1:{ports.http}"
    async with httpx2.AsyncClient(base_url=url, verify=tls) as http:
        assert (await http.get("/v1/orders")).status_code == 200
    address = f"127.0.0.1:{ports.grpc}"
    channel = (
        grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(ca))
        if ca
        else grpc.aio.insecure_channel(address)
    )
    async with channel:
        listed = OrderServiceStub(channel).ListOrders(pb.ListOrdersRequest(), wait_for_ready=True)
        assert await listed is not None


async def ends_quietly(service: Service) -> None:
    service.terminate()
    assert await service.exit_status() == 0
    assert complaints(service) == []


QUICK = {"http__limits__header_time": "2s", "lifecycle__grace": "1s", "logs__level": "INFO"}


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn", "granian"])
async def test_nothing_that_is_sent_to_a_rest_port_is_a_warning(server: str):
    async with started(http__server=server, **QUICK) as service:
        ports = await service.ports()
        await send_all(ports.http)
        await calls_are_answered(ports, None)
        await ends_quietly(service)


@pytest.mark.parametrize("port", ["grpc", "management"])
async def test_nor_is_what_is_sent_to_the_other_ports(port: str):
    async with started(**QUICK) as service:
        ports = await service.ports()
        await send_all(getattr(ports, port))
        await calls_are_answered(ports, None)
        await ends_quietly(service)


def contexts(folder: Path) -> Iterator[ssl.SSLContext]:
    """Yield clients with whom a handshake fails, or ends otherwise than expected."""
    yield ssl.create_default_context(cadata=Authority().certificate.decode())  # trusts another
    old = ssl._create_unverified_context()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    yield old
    ciphers = ssl._create_unverified_context()
    ciphers.maximum_version = ssl.TLSVersion.TLSv1_2
    ciphers.set_ciphers("AES128-SHA")
    yield ciphers
    protocol = ssl._create_unverified_context()
    protocol.set_alpn_protocols(["spdy/1"])
    yield protocol
    another = ssl._create_unverified_context()  # shows a certificate that nobody has asked for
    write(Authority().issue("client"), folder, "another")
    another.load_cert_chain(folder / "another.pem", folder / "another.key")
    yield another


@pytest.mark.parametrize(
    ("server", "asks"),
    [("hypercorn", False), ("hypercorn", True), ("uvicorn", False), ("granian", False)],
)
async def test_nor_is_a_handshake_that_fails(server: str, asks: bool, tmp_path: Path):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    write(authority.issue("server"), tmp_path, "server")
    files = {"certificate": "server.pem", "key": "server.key"}
    files |= {"client_ca": "ca.pem"} if asks else {}
    chosen = {
        f"{port}__tls__{name}": str(tmp_path / file)
        for port in ("http", "grpc")
        for name, file in files.items()
    }
    async with started(http__server=server, **QUICK, **chosen) as service:
        ports = await service.ports()
        await shake_hands_badly(ports, tmp_path)
        if not asks:
            await send_all(ports.http, trusting(authority))
            await calls_are_answered(ports, authority.certificate)
        await ends_quietly(service)


async def shake_hands_badly(ports: Ports, folder: Path) -> None:
    for port in (ports.http, ports.grpc):
        await send_all(port)  # none of which is TLS
        for context in contexts(folder):
            await send(port, b"GET / HTTP/1.1\r\n\r\n", context)


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.check_hostname = False
    return context
