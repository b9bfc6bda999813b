"""Sinks that ship lines to a collector: Beats and TCP for Logstash, and HTTP POST.

Not python-logstash-async 4.1.0: its queue in memory has no bound, that on disk forgets what was
under way when the process dies, and its beats client writes a part of a batch to a slow socket,
never checks the host name in a certificate, and waits without an end.
"""

import base64
import socket
import ssl
import struct
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping, Sequence

from ..tls import Followed
from ..tls.files import followed_context
from .bounded_queue import remaining
from .settings import HttpSink, LogstashSink, RemoteSink, SinkTls
from .shipping import DiskOutbox, MemoryOutbox, Outbox, RefusedError, Shipper, Transport
from .sinks import Sink

Files = Followed[ssl.SSLContext]


class Connection:
    """A TCP connection that is opened when it is needed; each wait is at most `timeout_s`."""

    def __init__(self, address: tuple[str, int], timeout_s: float, files: Files | None) -> None:
        self._address, self._timeout_s, self._files = address, timeout_s, files
        self._socket: socket.socket | None = None

    def send(self, data: bytes) -> None:
        """Hand all of it to the system; raises OSError."""
        if self._socket is not None and self._is_over(self._socket):
            self.close()
        if self._socket is None:
            self._socket = self._connected()
        self._socket.sendall(data)

    def receive(self, size: int) -> bytes:
        """Return exactly so many bytes; raises OSError."""
        received = b""
        while len(received) < size:
            more = self._socket.recv(size - len(received)) if self._socket else b""
            if not more:
                raise ConnectionResetError("the other side closed the connection")
            received += more
        return received

    def close(self) -> None:
        """Close it, if it is open."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _connected(self) -> socket.socket:
        plain = socket.create_connection(self._address, self._timeout_s)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._files is None:
            return plain
        self._files.renew()
        try:
            return self._files.content.wrap_socket(plain, server_hostname=self._address[0])
        except OSError:
            plain.close()
            raise

    def _is_over(self, connected: socket.socket) -> bool:
        """Return whether the other side has closed it: what is sent now would be lost unseen."""
        connected.setblocking(False)
        try:
            return connected.recv(1) == b""
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            connected.settimeout(self._timeout_s)


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


NEVER = frozenset({400, 413, 415, 422})  # of others, such as 401 or 404, the operator may think


class Post(Transport):
    """One request for each batch."""

    def __init__(self, settings: HttpSink, files: Files) -> None:
        self._url, self._timeout_s = str(settings.url), settings.timeout.total_seconds()
        self._headers = _headers(settings)
        self._files, self._opener = files, _opener(files.content)

    def send(self, batch: Sequence[bytes]) -> None:
        body = b"[" + b",".join(batch) + b"]"
        if self._files.renew():
            self._opener = _opener(self._files.content)
        request = urllib.request.Request(self._url, body, self._headers)  # a body means POST
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in NEVER:
                raise RefusedError(str(error)) from error
            raise

    def close(self) -> None:
        pass  # each request has its own connection


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for a failure: urllib would repeat a POST as a GET, without its body."""

    def redirect_request(self, *_arguments: object, **_more: object) -> None:
        return None


def _opener(context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), NoRedirect())


def _headers(settings: HttpSink) -> Mapping[str, str]:
    headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
    if settings.username:
        login = f"{settings.username}:{settings.password.get_secret_value()}"
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    return {"Content-Type": "application/json", **headers}


class Remote(Sink):
    """An outbox, and a thread that empties it."""

    def __init__(self, name: str, settings: RemoteSink, alarm: threading.Event) -> None:
        super().__init__(name, settings, alarm)
        transport = _transport(name, settings)
        self._outbox = self._outbox_of(settings)
        self._shipper = Shipper(name, self._outbox, transport, self.losses)

    def put(self, data: bytes) -> None:
        self._outbox.put(data)

    def flush(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        is_safe = self._outbox.stored(seconds)
        return self._shipper.flush(remaining(deadline)) or is_safe

    def close(self) -> None:
        self._outbox.close()

    def _outbox_of(self, settings: RemoteSink) -> Outbox:
        if settings.queue_dir is None:
            return MemoryOutbox(settings.queue_size, self.losses)
        return DiskOutbox(self.name, settings.queue_dir, settings.queue_size, self.losses)


def _transport(name: str, settings: RemoteSink) -> Transport:
    section = f"logs.sinks.{name}.tls"
    files = None if settings.tls is None else followed_context(section, settings.tls)
    if isinstance(settings, HttpSink):
        return Post(settings, files or followed_context(section, SinkTls()))
    assert isinstance(settings, LogstashSink)
    return _logstash(settings, files)


def _logstash(settings: LogstashSink, files: Files | None) -> Transport:
    address, timeout_s = (settings.host, settings.port), settings.timeout.total_seconds()
    connection = Connection(address, timeout_s, files)
    return Beats(connection) if settings.protocol == "beats" else Tcp(connection)
