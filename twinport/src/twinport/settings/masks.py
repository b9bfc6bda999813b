"""Which values are secrets by their type or the name of their key; the redactor masks the rest."""

from collections.abc import Callable
from typing import Any, get_origin

from pydantic import Secret, SecretBytes, SecretStr

from ..redact import MASK, Redactor
from . import shapes
from .kinds import Section


def masked(value: Any, kind: Any, redactor: Redactor) -> Any:
    """Return `value`, which is of this kind, without its secrets."""
    return _Rewrite(redactor, lambda secret: MASK, redactor.value).of(value, kind)


def secrets(value: Any, kind: Any, redactor: Redactor) -> set[str]:
    """Return the texts within `value`, which is of this kind, that nobody may see."""
    found: set[str] = set()
    _Rewrite(
        redactor,
        lambda secret: found.add(str(secret)),
        lambda plain: found.update(redactor.secrets(str(plain))),
    ).of(value, kind)
    return found


class _Rewrite:
    """Replaces what is a secret as a whole, and what is none but may hold one."""

    def __init__(
        self, redactor: Redactor, secret: Callable[[Any], Any], plain: Callable[[Any], Any]
    ) -> None:
        self._redactor, self._secret, self._plain = redactor, secret, plain

    def of(self, value: Any, kind: Any, hidden: bool = False) -> Any:
        """Return what stands for `value`; all of it is a secret if it is `hidden`."""
        if isinstance(value, dict):
            told = self._redactor.hidden(value)
            return {
                key: self.of(
                    inner,
                    shapes.inside(kind, key),
                    hidden or key == told or self._hides(kind, str(key)),
                )
                for key, inner in value.items()
            }
        if isinstance(value, list):
            told, entry = self._redactor.hidden(value), shapes.entry(kind)
            return [self.of(each, entry, hidden or i == told) for i, each in enumerate(value)]
        return self._leaf(value, kind, hidden)

    def _leaf(self, value: Any, kind: Any, hidden: bool) -> Any:
        if value in {None, ""} or isinstance(value, bool):
            return value
        if hidden or any(_is_secret(each) for each in shapes.alternatives(kind)):
            return self._secret(value)
        return self._plain(value)

    def _hides(self, kind: Any, key: str) -> bool:
        """Tell whether the name alone makes a secret of a text, or of texts in what is not ours."""
        # In a log a key may be one of anything, among settings it opens something.
        if not self._redactor.is_secret(key) and "key" not in key.lower():
            return False
        text = {str, bytes, Any, object, None}
        inner = shapes.inside(kind, key)
        found = shapes.alternatives(inner) or [inner]
        if any(_is_ours(each) for each in shapes.alternatives(kind)):
            names = key == "keys"  # of keys
            return str in found or (not names and str in map(shapes.entry, found))
        return any(each in text or shapes.entry(each) in text for each in found)


def _is_secret(kind: Any) -> bool:
    kind = get_origin(kind) or kind
    return isinstance(kind, type) and issubclass(kind, SecretStr | SecretBytes | Secret)


def _is_ours(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)
