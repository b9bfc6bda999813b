"""TLS of the gRPC port; its certificate is looked at again with the handshakes."""

import time
from threading import Lock
from typing import Any

import grpc

from ..tls import TlsFiles
from ..tls.pem import Pem

LOOK_AGAIN_S = 1.0


def credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials that follow `files`; a CA for clients makes their certificates a must."""
    renewal: Any = _Renewal(files)  # its None for "nothing new" is missing in the stubs
    needed = files.content.client_ca is not None
    return grpc.dynamic_ssl_server_credentials(_configuration(files.content), renewal, needed)


class _Renewal:
    """Asked by grpc in a thread of its own in front of each handshake."""

    def __init__(self, files: TlsFiles) -> None:
        self._files, self._lock = files, Lock()
        self._again_at = time.monotonic() + LOOK_AGAIN_S

    def __call__(self) -> "grpc.ServerCertificateConfiguration | None":
        """Return what is new; None if nothing is."""
        with self._lock:
            if time.monotonic() < self._again_at:
                return None
            self._again_at = time.monotonic() + LOOK_AGAIN_S
            return _configuration(self._files.content) if self._files.renew() else None


def _configuration(pem: Pem) -> "grpc.ServerCertificateConfiguration":
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.client_ca)
