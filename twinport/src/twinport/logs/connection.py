"""Connections to a collector: plain or TLS, with the host name checked."""

import socket
import ssl

from ..tls import Followed

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
