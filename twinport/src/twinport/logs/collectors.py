"""Sinks that ship lines to a collector: Beats and TCP for Logstash, HTTP POST; a queue on disk.

Not python-logstash-async 4.1.0: its queue in memory has no bound, that on disk forgets what was
under way when the process dies, and its beats client writes a part of a batch to a slow socket,
never checks the host name in a certificate, and waits without an end.
"""

import base64
import socket
import sqlite3
import ssl
import struct
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from ..errors import StartupError
from ..tls import Followed
from ..tls.files import followed_context
from .bounded_queue import BoundedQueue, Bounds, Losses, Then, UndeliveredError
from .settings import HttpSink, LogstashSink, RemoteSink, SinkTls
from .sinks import Sink

Files = Followed[ssl.SSLContext]
ACK = struct.Struct(">2sI")


class Remote(Sink):
    """Ships lines to a collector, again and again until they are taken."""

    def __init__(self, name: str, settings: RemoteSink, losses: Losses) -> None:
        super().__init__(name, settings, losses)
        self._transport = _transport(name, settings)
        if settings.queue_dir is None:
            self.queue = self._queue(self._ship, settings.queue_size)
        else:
            limit = settings.queue_size
            self.queue = DiskQueue(name, self._ship, limit, losses, settings.queue_dir)
        self.queue.at_end = self._transport.close

    def _ship(self, batch: Sequence[bytes]) -> None:
        try:
            self._transport.send(batch)
        except UndeliveredError:
            raise
        except Exception as error:
            self._transport.close()
            raise UndeliveredError(f"{type(error).__name__}: {error}", Then.RETRY) from error


def _transport(name: str, settings: RemoteSink) -> "Tcp | Post":
    section = f"logs.sinks.{name}.tls"
    files = None if settings.tls is None else followed_context(section, settings.tls)
    if isinstance(settings, HttpSink):
        return Post(settings, files or followed_context(section, SinkTls()))
    assert isinstance(settings, LogstashSink)
    kind = Beats if settings.protocol == "beats" else Tcp
    return kind((settings.host, settings.port), settings.timeout.total_seconds(), files)


class Tcp:
    """One JSON object a line, for the codec json_lines; taken means taken by our own system.

    The connection is opened when it is needed; each wait is at most `timeout_s`.
    """

    def __init__(self, address: tuple[str, int], timeout_s: float, files: Files | None) -> None:
        self._address, self._timeout_s, self._files = address, timeout_s, files
        self._socket: socket.socket | None = None

    def send(self, batch: Sequence[bytes]) -> None:
        """Return when the lines are taken; raises OSError if not now."""
        self._connected().sendall(b"".join(batch))

    def close(self) -> None:
        """Give back what is open, before the next attempt or for good."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is not None and self._is_over(self._socket):
            self.close()
        if self._socket is None:
            self._socket = self._connect()
        return self._socket

    def _connect(self) -> socket.socket:
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


class Beats(Tcp):
    """Windows of lines, each acknowledged: the Lumberjack protocol, version 2.

    Its description is github.com/elastic/go-lumber, package protocol/v2.
    """

    def send(self, batch: Sequence[bytes]) -> None:
        frames = (
            struct.pack(">2sII", b"2J", number, len(line)) + line
            for number, line in enumerate(batch, start=1)
        )
        packed = zlib.compress(b"".join(frames), 3)
        connected = self._connected()
        connected.sendall(struct.pack(">2sI2sI", b"2W", len(batch), b"2C", len(packed)) + packed)
        while _acknowledged(connected) < len(batch):
            pass  # a part of the window, or 0: the other side is still busy with it


def _acknowledged(connected: socket.socket) -> int:
    frame = b""
    while len(frame) < ACK.size:
        more = connected.recv(ACK.size - len(frame))
        if not more:
            raise ConnectionResetError("the other side closed the connection")
        frame += more
    kind, number = ACK.unpack(frame)
    if kind != b"2A":
        raise ConnectionError("the other side does not speak the protocol of beats")
    return int(number)


REFUSALS = frozenset({400, 413, 415, 422})  # of others, such as 401 or 404, the operator may think


class Post:
    """HTTP POST of JSON arrays, one request for each batch."""

    def __init__(self, settings: HttpSink, files: Files) -> None:
        self._url, self._timeout_s = str(settings.url), settings.timeout.total_seconds()
        self._headers = _headers(settings)
        self._files, self._opener = files, _opener(files.content)

    def send(self, batch: Sequence[bytes]) -> None:
        """Return when the lines are taken; raises OSError if not now, UndeliveredError if never."""
        body = b"[" + b",".join(batch) + b"]"
        if self._files.renew():
            self._opener = _opener(self._files.content)
        request = urllib.request.Request(self._url, body, self._headers)  # a body means POST
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in REFUSALS:
                raise UndeliveredError(str(error), Then.SPLIT) from error
            raise

    def close(self) -> None:
        """Do nothing: each request has its own connection."""


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for a failure: urllib would repeat a POST as a GET, without its body."""

    def redirect_request(self, *_arguments: object, **_more: object) -> None:
        return None


def _opener(context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    direct = urllib.request.ProxyHandler({})  # whatever the environment says of proxies
    https = urllib.request.HTTPSHandler(context=context)
    return urllib.request.build_opener(direct, https, NoRedirect())


def _headers(settings: HttpSink) -> Mapping[str, str]:
    headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
    if settings.username:
        login = f"{settings.username}:{settings.password.get_secret_value()}"
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    return {"Content-Type": "application/json", **headers}


SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE IF NOT EXISTS lines (id INTEGER PRIMARY KEY AUTOINCREMENT, line BLOB NOT NULL);
BEGIN IMMEDIATE;
COMMIT;
"""


class DiskQueue(BoundedQueue[bytes]):
    """A queue in an SQLite file, with which the next process goes on.

    A queue in memory stands before it, so that a slow disk holds nobody.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[bytes]], None],
        limit: int,
        losses: Losses,
        folder: Path,
    ) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                folder / f"{name}.sqlite3",
                timeout=0.5,
                isolation_level=None,
                check_same_thread=False,
            )
            self._database.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StartupError(f"logs.sinks.{name}.queue_dir: {folder}: {error}") from error
        super().__init__(f"logs-{name}", send, Bounds(limit), losses)
        with self._changed:
            query = "SELECT count(*), coalesce(sum(length(line)), 0) FROM lines"
            self.waiting, self._held = self._database.execute(query).fetchone()
            self._changed.notify_all()
        self._incoming = BoundedQueue(f"logs-{name}-disk", self._store, Bounds(limit), losses)

    def put(self, item: bytes) -> None:
        self._incoming.put(item)

    def flush(self, seconds: float) -> bool:
        """Wait until all is on disk, and until it is delivered if the collector is there."""
        deadline = time.monotonic() + seconds
        is_saved = self._incoming.flush(seconds)
        return super().flush(max(0.0, deadline - time.monotonic())) or is_saved

    def unsaved(self) -> int:
        return self._incoming.waiting

    def close(self, seconds: float = 0.0) -> None:
        super().close(seconds)
        self._incoming.close()
        with self._lock:
            self._database.close()

    def _take(self, most: int) -> Sequence[bytes]:
        query = "SELECT line FROM lines ORDER BY id LIMIT ?"
        with self._lock:
            return [line for (line,) in self._database.execute(query, (most,))]

    def _put_back(self, batch: Sequence[bytes]) -> None:
        pass  # it has never left

    def _remove(self, batch: Sequence[bytes]) -> None:
        query = "DELETE FROM lines WHERE id IN (SELECT id FROM lines ORDER BY id LIMIT ?)"
        with self._lock:
            self._database.execute(query, (len(batch),))
            self._count_out(batch)

    def _store(self, batch: Sequence[bytes]) -> None:
        fitting = self._fitting(batch)
        insert = "INSERT INTO lines (line) VALUES (?)"
        with self._lock:
            with self._database:  # commits, or rolls back
                self._database.execute("BEGIN")
                self._database.executemany(insert, [(line,) for line in fitting])
            self._held += sum(map(len, fitting))
            self.waiting += len(fitting)
            self._changed.notify_all()
        if len(fitting) < len(batch):
            lost = len(batch) - len(fitting)
            self._losses.add(lost, "the queue on disk is full", self.waiting)

    def _fitting(self, batch: Sequence[bytes]) -> Sequence[bytes]:
        ends = accumulate(map(len, batch), initial=self._held)
        room = sum(end <= self._limit for end in ends) - 1
        return batch[: max(0, room)]
