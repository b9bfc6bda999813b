"""Connections to a collector: plain or TLS, with the host name checked."""

import socket
import ssl
from functools import partial

from ..errors import StartupError
from ..tls import Followed
from .kinds import SinkTls

Files = Followed[ssl.SSLContext]


def tls_files(name: str, tls: SinkTls) -> Files:
    """Return what the settings of a sink say, and say later; raises StartupError."""
    paths = (tls.ca, tls.certificate, tls.key)
    return Followed(f"logs.sinks.{name}.tls", paths, partial(_context, name, tls))


def _context(name: str, tls: SinkTls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one, too
        raise StartupError(f"logs.sinks.{name}.tls: {error}") from error
    return context


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
