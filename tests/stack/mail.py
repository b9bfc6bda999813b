"""A mail server that remembers what it was sent."""

from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from socketserver import StreamRequestHandler, ThreadingTCPServer

from .receiver import receiving

END = b".\r\n"
ANSWERS = {"DATA": b"354 go on\r\n", "QUIT": b"221 bye\r\n"}
OK = b"250 ok\r\n"


class Mailbox:
    """What was sent, in order, by SMTP (RFC 5321) to `port`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sent: list[Message] = []


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Keep a mail server listening."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                command = line.decode("ascii").strip().upper()
                self.wfile.write(ANSWERS.get(command, OK))
                if command == "DATA":
                    listening.sent.append(
                        message_from_bytes(b"".join(iter(self.rfile.readline, END)))
                    )
                    self.wfile.write(OK)
                elif command == "QUIT":
                    return

    server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    listening = Mailbox(server.server_address[1])
    with receiving(server):
        yield listening
