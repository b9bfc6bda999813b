"""The two protocols of Logstash: beats, which acknowledges, and lines over plain TCP.

Not python-logstash-async 4.1.0: its queue in memory has no bound, that on disk forgets what was
under way when the process dies, and its beats client writes a part of a batch to a slow socket,
never checks the host name in a certificate, and waits without an end.
"""

import struct
import zlib
from collections.abc import Sequence

from .connection import Connection
from .shipper import Transport

# Lumberjack protocol, version 2: github.com/elastic/go-lumber, package protocol/v2
VERSION = b"2"
WINDOW, JSON, COMPRESSED, ACK = b"W", b"J", b"C", b"A"


class Tcp(Transport):
    """One JSON object a line, for the codec json_lines; taken means taken by our own system."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, batch: Sequence[bytes]) -> None:
        self._connection.send(b"".join(batch))

    def close(self) -> None:
        self._connection.close()


class Beats(Transport):
    """Windows of lines, each acknowledged."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, batch: Sequence[bytes]) -> None:
        frames = b"".join(_json_frame(number, line) for number, line in enumerate(batch, start=1))
        packed = zlib.compress(frames, 3)
        self._connection.send(
            VERSION
            + WINDOW
            + struct.pack(">I", len(batch))
            + VERSION
            + COMPRESSED
            + struct.pack(">I", len(packed))
            + packed
        )
        while self._acknowledged() < len(batch):
            pass  # a part of the window, or 0: the other side is still busy with it

    def close(self) -> None:
        self._connection.close()

    def _acknowledged(self) -> int:
        frame, number = struct.unpack(">2sI", self._connection.receive(6))
        if frame != VERSION + ACK:
            raise ConnectionError("the other side does not speak the protocol of beats")
        return int(number)


def _json_frame(number: int, line: bytes) -> bytes:
    return VERSION + JSON + struct.pack(">II", number, len(line)) + line
