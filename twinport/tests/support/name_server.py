"""A name server: what it says are the addresses of a name, are its addresses (RFC 1035)."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

ANSWER = 0x8400
KINDS = {4: 1, 6: 28}  # of records: A and AAAA
INTERNET, TTL_S = 1, 0
HEADER_BYTES = 12


class NameServer(asyncio.DatagramProtocol):
    """Whatever the name, its addresses are `addresses`; it has no other records."""

    def __init__(self, *addresses: str) -> None:
        self.addresses, self.port = addresses, 0
        self._transport: asyncio.DatagramTransport | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        here = ("127.0.0.1", 0)
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=here)
        self._transport, self.port = transport, transport.get_extra_info("sockname")[1]
        yield
        transport.close()

    def datagram_received(self, data: bytes, client: tuple[str, int]) -> None:
        assert self._transport
        self._transport.sendto(self._answer(data), client)

    def _answer(self, query: bytes) -> bytes:
        end = query.index(b"\0", HEADER_BYTES) + 5  # of the name, then type and class
        question = query[HEADER_BYTES:end]
        (kind,) = struct.unpack("!H", question[-4:-2])
        records = [_record(each) for each in self.addresses if _kind(each) == kind]
        header = struct.pack("!2sHHHHH", query[:2], ANSWER, 1, len(records), 0, 0)
        return header + question + b"".join(records)


def _kind(address: str) -> int:
    return KINDS[ip_address(address).version]


def _record(address: str) -> bytes:
    name, packed = 0xC000 | HEADER_BYTES, ip_address(address).packed  # the one asked for
    return struct.pack("!HHHIH", name, _kind(address), INTERNET, TTL_S, len(packed)) + packed
