"""TLS and mutual TLS on both ports, with real certificates."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from loguru import logger

import sample as package
from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from sample.settings import Settings
from twinport.auth.certificates import Certificates
from twinport.auth.permissions import Credentials
from twinport.errors import SettingsError, StartupError, UnauthenticatedError
from twinport.service.ports import Ports
from twinport.settings import Sources, load
from twinport.tls.authority import Authority, Pair, main, write

from support.certified import TIMEOUT_S, Client, Site
from support.process import started

SPIFFE = "spiffe://test/checkout"
READER = {SPIFFE: {"orders:read"}}


@pytest.fixture
def site(tmp_path: Path, settings: Settings) -> Site:
    return Site(tmp_path, settings)


@contextmanager
def warnings() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING", format="{message}")
    yield lines
    logger.remove(sink)


async def until(probe: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not await probe():
            await pause()


async def pause() -> None:
    await asyncio.sleep(0.02)  # others need the machine, too


WAYS = [Client.by_http1, Client.by_http2, Client.by_grpc]
Way = Callable[[Client], Awaitable[str]]


@pytest.mark.parametrize("way", WAYS)
async def test_calls_are_answered_over_tls(way: Way, site, serving):
    async with serving(site.secured()) as ports:
        assert await way(site.client(ports)) == "OK"


SERVERS = [
    ("uvicorn", [Client.by_http1]),
    ("granian", [Client.by_http1, Client.by_http2]),
]


@pytest.mark.parametrize(("server", "ways"), SERVERS)
async def test_the_other_servers_speak_tls_and_ask_for_certificates(server, ways, site, serving):
    settings = site.secured(client_ca=site.ca)
    http = settings.http.model_copy(update={"server": server})
    async with serving(settings.model_copy(update={"http": http})) as ports:
        pair = site.authority.issue("client")
        for way in ways:
            assert await way(site.client(ports)) == "no connection"
            assert await way(site.client(ports, pair)) == "OK"


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_trusts_another_ca_goes_away(way: Way, site, serving):
    async with serving(site.secured()) as ports:
        site.ca.write_bytes(Authority().certificate)
        assert await way(site.client(ports)) == "no connection"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize(
    ("oldest", "newest", "end"),
    [
        ("1.2", "TLSv1_1", "no connection"),
        ("1.2", "TLSv1_2", "OK"),
        ("1.3", "TLSv1_2", "no connection"),
        ("1.3", "TLSv1_3", "OK"),
    ],
)
async def test_old_versions_of_tls_are_not_spoken(oldest, newest, end, site, serving):
    async with serving(site.secured({"min_version": oldest})) as ports:
        client = site.client(ports)
        client.context.set_ciphers("DEFAULT:@SECLEVEL=0")
        client.context.minimum_version = ssl.TLSVersion.TLSv1
        client.context.maximum_version = ssl.TLSVersion[newest]
        assert await client.by_http1() == end


NAMES = [  # alternatives of a certificate whose CN is "checkout", the name that is taken
    ((SPIFFE, "checkout.test"), SPIFFE),
    (("checkout.test", "127.0.0.1"), "checkout.test"),
    ((), "checkout"),
]


@pytest.mark.parametrize("way", WAYS)
async def test_a_certificate_names_the_caller(way: Way, site, serving, calls):
    for alternatives, name in NAMES:
        pair = site.authority.issue("checkout", alternatives)
        async with serving(site.mutual({name: {"orders:read"}})) as ports:
            assert await way(site.client(ports, pair)) == "OK"
    assert [str(call.principal) for call in calls] == [name for _, name in NAMES]


@pytest.mark.parametrize("way", WAYS)
async def test_without_a_certificate_of_our_ca_nobody_connects(way: Way, site, serving):
    stranger = Authority().issue("x", (SPIFFE,))
    async with serving(site.mutual(READER)) as ports:
        assert await way(site.client(ports)) == "no connection"
        assert await way(site.client(ports, stranger)) == "no connection"


@pytest.mark.parametrize("way", WAYS)
async def test_a_certificate_opens_what_its_grants_say(way: Way, site, serving):
    reader = site.authority.issue("reader", (SPIFFE,))
    for grants, code in (
        ({}, "PERMISSION_DENIED"),
        ({SPIFFE: {"orders:write"}}, "PERMISSION_DENIED"),
        ({"*": {"orders:read"}}, "OK"),
    ):
        async with serving(site.mutual(grants)) as ports:
            assert await way(site.client(ports, reader)) == code


async def test_a_certificate_that_expires_while_connected_is_no_more_use():
    authority = Authority()
    certificates = Certificates({"*": frozenset({"orders:read"})})
    old, good = (authority.issue("x", (SPIFFE,), timedelta(hours=hours)) for hours in (-1, 1))
    assert str(await certificates(Credentials((), good.certificate))) == SPIFFE
    with pytest.raises(UnauthenticatedError):
        await certificates(Credentials((), old.certificate))


async def test_where_certificates_are_optional_a_call_without_one_is_401(site, serving):
    reader = site.authority.issue("reader", (SPIFFE,))
    async with serving(site.mutual(READER, client_auth="optional")) as ports:
        for way in (Client.by_http1, Client.by_http2):
            assert await way(site.client(ports)) == "UNAUTHENTICATED"
            assert await way(site.client(ports, reader)) == "OK"


def lose_certificate(folder: Path) -> None:
    (folder / "server.pem").unlink()


def garble_certificate(folder: Path) -> None:
    (folder / "server.pem").write_text("certificate", encoding="utf-8")


def swap_key(folder: Path) -> None:
    (folder / "server.key").write_bytes(Authority().issue("other").key)


def garble_key(folder: Path) -> None:
    (folder / "server.key").write_text("key", encoding="utf-8")


def make_key_a_folder(folder: Path) -> None:
    (folder / "server.key").unlink()
    (folder / "server.key").mkdir()


def encrypt_key(folder: Path) -> None:
    key = load_pem_private_key((folder / "server.key").read_bytes(), None)
    secret = BestAvailableEncryption(b"secret")
    (folder / "server.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret)
    )


def garble_ca(folder: Path) -> None:
    (folder / "ca.pem").write_bytes((folder / "server.key").read_bytes())


BROKEN = [
    (lose_certificate, "certificate: PATH: No such file or directory"),
    (garble_certificate, "certificate: PATH: holds no certificate in PEM"),
    (swap_key, "key: PATH: does not fit the certificate"),
    (garble_key, "key: PATH: holds no private key in PEM"),
    (make_key_a_folder, "key: PATH: Is a directory"),
    (encrypt_key, "key: PATH: has a password; store it without one"),
    (garble_ca, "client_ca: PATH: holds no certificate in PEM"),
]
FILES = {"certificate": "server.pem", "key": "server.key", "client_ca": "ca.pem"}


@pytest.mark.parametrize("section", ["http", "grpc"])
@pytest.mark.parametrize(("breaking", "line"), BROKEN)
async def test_bad_files_are_named_in_one_line_at_start(section, breaking, line, site, serving):
    secured = getattr(site.secured(client_ca=site.ca), section)
    breaking(site.folder)
    with pytest.raises(StartupError) as refused:
        async with serving(site.settings.model_copy(update={section: secured})):
            pass
    path = site.folder / FILES[line.partition(":")[0]]
    assert str(refused.value) == f"{section}.tls.{line.replace('PATH', str(path))}"


async def test_a_key_that_does_not_fit_ends_the_process_with_one_line(site):
    swap_key(site.folder)
    names = {"certificate": "server.pem", "key": "server.key"}
    chosen = {f"http__tls__{key}": str(site.folder / name) for key, name in names.items()}
    async with started(**chosen) as service:
        assert await service.exit_status() == 1
        (line,) = service.plain
    assert f"http.tls.key: {site.folder}/server.key: does not fit the certificate" in line


async def test_an_expired_certificate_is_a_warning(site, serving):
    site.renew(life=timedelta(hours=-1))
    with warnings() as lines:
        async with serving(site.secured()):
            pass
    named = [line.partition(":")[0] for line in lines]
    assert named == ["grpc.tls.certificate", "http.tls.certificate"]


async def shown_by_http(ports: Ports) -> int:
    """Return the serial number of the certificate that a new connection gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", ports.http, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number


async def shown_by_grpc(ports: Ports) -> int:
    address = ("127.0.0.1", ports.grpc)
    pem = await asyncio.to_thread(ssl.get_server_certificate, address)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


async def shown(ports: Ports) -> list[int]:
    return [await shown_by_http(ports), await shown_by_grpc(ports)]


async def until_shown(ports: Ports, pair: Pair) -> None:
    new = x509.load_pem_x509_certificate(pair.certificate).serial_number

    async def both() -> bool:
        return await shown(ports) == [new, new]

    await until(both)
    assert [await shown(ports) for _ in range(5)] == [[new, new]] * 5  # nobody gets the old one


@asynccontextmanager
async def load_on(client: Client) -> AsyncIterator[list[str]]:
    """Call again and again, on new connections and on old ones, until left; yield the ends."""
    ends: list[str] = []
    stop = asyncio.Event()

    async def again(way: Way) -> None:
        while not stop.is_set():
            ends.append(await way(client))
            await pause()

    async def on_old_ones() -> None:
        async with client.http(http2=True) as http, client.channel() as channel:
            await again(lambda _: on_open_connections(http, channel))

    tasks = [asyncio.create_task(again(way)) for way in WAYS]
    tasks.append(asyncio.create_task(on_old_ones()))
    yield ends
    stop.set()
    await asyncio.gather(*tasks)


async def on_open_connections(http: httpx2.AsyncClient, channel: grpc.aio.Channel) -> str:
    await OrderServiceStub(channel).ListOrders(pb.ListOrdersRequest())
    return "OK" if (await http.get("/v1/orders")).is_success else "refused"


async def test_certificates_are_rotated_under_load(site, serving):
    async with serving(site.secured()) as ports, load_on(site.client(ports)) as ends:
        for _ in range(2):
            await until_shown(ports, site.renew())
    assert len(ends) > 20
    assert set(ends) == {"OK"}


async def test_half_of_a_rotation_changes_nothing(site, serving):
    async with serving(site.secured()) as ports:
        old, pair = await shown(ports), site.authority.issue("server")

        async def unchanged_and_said() -> bool:
            assert await shown(ports) == old
            return len(lines) == len(old)

        with warnings() as lines:
            (site.folder / "server.pem").write_bytes(pair.certificate)
            await until(unchanged_and_said)
        write(pair, site.folder, "server")
        await until_shown(ports, pair)


@pytest.mark.parametrize("way", WAYS)
async def test_a_new_client_ca_shuts_out_the_clients_of_the_old_one(way: Way, site, serving):
    other = Authority("other CA")
    async with serving(site.mutual(READER)) as ports:
        old = site.client(ports, site.authority.issue("x", (SPIFFE,)))
        new = site.client(ports, other.issue("x", (SPIFFE,)))
        assert [await way(old), await way(new)] == ["OK", "no connection"]

        async def new_is_known() -> bool:
            return await way(new) == "OK"

        site.ca.write_bytes(other.certificate)
        await until(new_is_known)
        assert await way(old) == "no connection"


TLS = 'certificate = "a"\nkey = "b"\n'
BOTH = f'[http.tls]\n{TLS}client_ca = "c"\n[grpc.tls]\n{TLS}client_ca = "c"\n'
WRONG = [
    ('[http.tls]\ncertificate = "a"', "http.tls.key"),
    (f'[http.tls]\n{TLS}min_version = "1.1"', "http.tls.min_version"),
    ('[auth]\nmode = "mtls"', "grpc.tls.client_ca"),
    (f'[auth]\nmode = "mtls"\n[grpc.tls]\n{TLS}client_ca = "c"', "http.tls.client_ca"),
    (f'[auth]\nmode = "mtls"\n[http]\nserver = "uvicorn"\n{BOTH}', "http.server"),
    (f'[auth]\nmode = "mtls"\n[http]\nserver = "granian"\n{BOTH}', "http.server"),
    (
        f'[http]\nserver = "granian"\n[http.tls]\n{TLS}client_auth = "optional"',
        "http.tls.client_auth",
    ),
]


@pytest.mark.parametrize(("chosen", "key"), WRONG)
def test_a_combination_that_nobody_can_keep_is_refused(chosen, key, tmp_path):
    (tmp_path / "default.toml").write_text('[service]\nname = "x"\n', encoding="utf-8")
    (tmp_path / "test.toml").write_text(chosen, encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load(Settings, Sources(package.__name__, tmp_path, "test", variables={}))
    (line,) = refused.value.mistakes
    assert f": {key}: " in line


@pytest.mark.parametrize("way", WAYS)
async def test_the_certificates_of_make_certs_work(way: Way, site, serving):
    main([str(site.folder), "more.test"])
    pair = Pair(*((site.folder / f"client.{kind}").read_bytes() for kind in ("pem", "key")))
    async with serving(site.mutual({"client": {"orders:read"}})) as ports:
        assert await way(site.client(ports, pair)) == "OK"
    assert (site.folder / "server.key").stat().st_mode & 0o077 == 0
