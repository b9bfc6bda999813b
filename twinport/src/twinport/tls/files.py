"""Files that are read again when they change."""

from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Generic, TypeVar

from loguru import logger

from ..errors import StartupError
from .pem import Pem
from .settings import TlsSettings

Stamp = tuple[int, int, int]  # when it changed, its size, and which file it is
Content = TypeVar("Content")

GONE: Stamp = (0, 0, 0)


class Followed(Generic[Content]):
    """What the files of `section` amounted to when they last fitted together."""

    def __init__(
        self, section: str, paths: Iterable[Path | None], read: Callable[[], Content]
    ) -> None:
        """Read the files; raises StartupError, as `read` does when they do not fit."""
        self._section, self._read = section, read
        self._paths = [path for path in paths if path is not None]
        self._stamps = self._seen()
        self.content = read()

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
            self.content = self._read()
        except StartupError as error:
            logger.warning("{}; the old certificate stays", error)
            return False
        logger.info("{}: took the new certificate", self._section)
        return True

    def _seen(self) -> list[Stamp]:
        return [_stamp(path) for path in self._paths]


class TlsFiles(Followed[Pem]):
    """Certificate, key and CA of one port."""

    def __init__(self, section: str, settings: TlsSettings) -> None:
        """Read the files; raises StartupError."""
        paths = (settings.certificate, settings.key, settings.client_ca)
        super().__init__(section, paths, partial(_checked, section, settings))


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
