"""A mail server that remembers what it was sent."""

import ssl
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import NamedTuple

from .receiver import receiving

END = b".\r\n"
OK, OFFERS = b"250 ok\r\n", b"250-here\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n"
WELCOME, NOT_BEFORE, REFUSED = b"235 welcome\r\n", b"530 not before\r\n", b"535 who are you\r\n"
ANSWERS = {"QUIT": b"221 bye\r\n", "STARTTLS": b"220 go on\r\n"}


class Demands(NamedTuple):
    """What is asked for before mail is taken: TLS, from the beginning or by STARTTLS, and a log-in.

    `account` is user and password, each after a NUL (RFC 4616).
    """

    tls: ssl.SSLContext
    account: str
    is_tls_at_once: bool


class Mailbox(ThreadingTCPServer):
    """What was sent, in order, by SMTP (RFC 5321) to `port`."""

    daemon_threads = True

    def __init__(self, demands: Demands | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.demands, self.port = demands, self.server_address[1]
        self.sent: list[Message] = []


@contextmanager
def mailbox(demands: Demands | None = None) -> Iterator[Mailbox]:
    """Keep a mail server listening."""
    listening = Mailbox(demands)
    with receiving(listening):
        yield listening


class _Handler(StreamRequestHandler):
    server: Mailbox

    def setup(self) -> None:
        self.demands = self.server.demands
        self.lacks = {"TLS", "AUTH"} if self.demands else set()
        if self.demands and self.demands.is_tls_at_once:
            self._secure()
        super().setup()

    def _secure(self) -> None:
        self.request = self.demands.tls.wrap_socket(self.request, server_side=True)
        self.lacks.discard("TLS")

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline().decode("ascii").strip():
            command = line.split()[0].upper()
            self.wfile.write(self._answer(command, line))
            if command == "STARTTLS":  # RFC 3207
                self._secure()
                super().setup()
            elif command == "QUIT":
                return

    def _answer(self, command: str, line: str) -> bytes:
        if command == "EHLO" and self.demands:
            return OFFERS
        if command == "AUTH":
            return self._known(b64decode(line.split()[2]).decode())
        if command == "MAIL" and self.lacks:
            return NOT_BEFORE
        if command == "DATA":
            self.wfile.write(b"354 go on\r\n")
            whole = b"".join(iter(self.rfile.readline, END))
            self.server.sent.append(message_from_bytes(whole))
        return ANSWERS.get(command, OK)

    def _known(self, account: str) -> bytes:
        if self.demands is None or account != self.demands.account:
            return REFUSED
        self.lacks.discard("AUTH")
        return WELCOME
