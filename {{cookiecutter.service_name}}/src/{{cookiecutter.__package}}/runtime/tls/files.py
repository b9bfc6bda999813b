"""The files of one port, read again when they change."""

from importlib import import_module
from pathlib import Path

from loguru import logger

from ..errors import StartupError
from .pem import Pem
from .settings import TlsSettings

Stamp = tuple[int, int, int]  # when it changed, its size, and which file it is

GONE: Stamp = (0, 0, 0)


class TlsFiles:
    """Certificate, key and CA of `section`, as they were when they last fitted together."""

    def __init__(self, section: str, settings: TlsSettings) -> None:
        """Read the files; raises StartupError."""
        self._section, self._settings = section, settings
        given = (settings.certificate, settings.key, settings.client_ca)
        self._paths = [path for path in given if path is not None]
        self._stamps = self._seen()
        self.pem = _checked(section, settings)

    def renew(self) -> bool:
        """Return whether they have changed, and are as good as the old ones; blocks shortly.

        What does not fit is looked at again when it changes again: key and certificate are
        written one after the other.
        """
        seen = self._seen()
        if seen == self._stamps:
            return False
        self._stamps = seen
        try:
            self.pem = _checked(self._section, self._settings)
        except StartupError as error:
            logger.warning("{}; the old certificate stays", error)
            return False
        logger.info("{}: took the new certificate", self._section)
        return True

    def _seen(self) -> list[Stamp]:
        return [_stamp(path) for path in self._paths]


def _checked(section: str, settings: TlsSettings) -> Pem:
    check = import_module(".check", __package__)  # cryptography: for those alone who have TLS
    pem: Pem = check.checked(section, settings)
    return pem


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return GONE
    return found.st_mtime_ns, found.st_size, found.st_ino
