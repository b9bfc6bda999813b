"""Which values are secrets, and what is shown instead of them."""

import re
from collections.abc import Callable
from typing import Any, get_origin

from pydantic import Secret, SecretBytes, SecretStr

from . import shapes
from .kinds import Section

MASK = "**********"  # as pydantic writes a secret

_NAME = r"pass(?:word|wd|phrase)|secret|token|key|credential|authorization"
_IN_URL = rf"(?i)(://)[^/\s?#]+(?=@)|([?&][^=&\s]*(?:{_NAME})[^=&\s]*=)[^&\s#]+"


def masked(value: Any, kind: Any) -> Any:
    """Return `value`, which is of this kind, without its secrets and those within URLs."""
    return _rewritten(value, kind, _Rewrite(lambda secret: MASK, without_url_secrets))


def without_url_secrets(text: str) -> str:
    """Return `text` with the userinfo of URLs, and what their queries call a token, masked."""
    return re.sub(_IN_URL, lambda found: (found[1] or found[2]) + MASK, text)


def secrets(value: Any, kind: Any) -> set[str]:
    """Return the texts within `value`, which is of this kind, that nobody may see."""
    found: set[str] = set()

    def keep(secret: Any) -> str:
        found.add(str(secret))
        return MASK

    def keep_in_url(text: str) -> str:
        for match in re.finditer(_IN_URL, text):
            found.add(match[0].removeprefix(match[1] or match[2]))
        return MASK

    _rewritten(value, kind, _Rewrite(keep, keep_in_url))
    return found


class _Rewrite:
    def __init__(self, secret: Callable[[Any], Any], plain: Callable[[str], Any]) -> None:
        self.secret = secret
        self.plain = plain


def _rewritten(value: Any, kind: Any, rewrite: _Rewrite, hidden: bool = False) -> Any:
    if isinstance(value, dict):
        return {
            key: _rewritten(
                inner, shapes.inside(kind, key), rewrite, hidden or _hides(kind, str(key))
            )
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_rewritten(item, shapes.entry(kind), rewrite, hidden) for item in value]
    if value in {None, ""} or isinstance(value, bool):
        return value
    if hidden or any(_is_secret(each) for each in shapes.alternatives(kind)):
        return rewrite.secret(value)
    return rewrite.plain(value) if isinstance(value, str) else value


def _is_secret(kind: Any) -> bool:
    kind = get_origin(kind) or kind
    return isinstance(kind, type) and issubclass(kind, SecretStr | SecretBytes | Secret)


def _hides(kind: Any, key: str) -> bool:
    """Tell whether the name alone makes a secret of a text, or of texts in what is not ours."""
    if not re.search(_NAME, key, re.IGNORECASE):
        return False
    text = {str, bytes, Any, object, None}
    inner = shapes.inside(kind, key)
    found = shapes.alternatives(inner) or [inner]
    if any(_is_ours(each) for each in shapes.alternatives(kind)):
        return str in found or (key != "keys" and str in map(shapes.entry, found))  # names of keys
    return any(each in text or shapes.entry(each) in text for each in found)


def _is_ours(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)
