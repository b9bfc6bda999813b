"""What is in the files of TLS."""

from typing import NamedTuple


class Pem(NamedTuple):
    """The content of each file, as PEM."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None
