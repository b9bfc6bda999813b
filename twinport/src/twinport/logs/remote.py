"""The sinks that ship lines to a collector."""

import threading
import time

from ..tls.outgoing import followed_context
from .background import remaining
from .connection import Connection, Files
from .disk import DiskOutbox
from .kinds import HttpSink, LogstashSink, RemoteSink, SinkTls
from .logstash import Beats, Tcp
from .outbox import MemoryOutbox, Outbox
from .post import Post
from .shipper import Shipper, Transport
from .sink import Sink


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
