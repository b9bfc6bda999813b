"""What a mistyped key most likely meant."""

import re
from difflib import get_close_matches

from pydantic import BaseModel

from . import shapes
from .paths import KeyPath, dotted


def unknown_key(model: type[BaseModel], path: KeyPath) -> str:
    """Return what to say of a key that no field asks for."""
    *parent, last = path
    siblings = list(shapes.fields(shapes.at(model, tuple(parent))))
    known = {dotted(each): each for each in shapes.tree(model)}
    same_letters = [key for key, each in known.items() if _letters(each) == _letters(path)]
    near = get_close_matches(str(last).lower(), siblings, 1)
    close = (
        same_letters
        or [dotted((*parent, name)) for name in near]
        or get_close_matches(dotted(path).lower(), [] if siblings else known, 1, 0.75)
        or [key for key, each in known.items() if each[-1] == last][:3]
    )
    if close:
        return f"unknown key; did you mean {' or '.join(close)}?"
    return f"unknown key; known here: {', '.join(siblings)}" if siblings else "unknown key"


def _letters(path: KeyPath) -> str:
    """Return what a path and its many misspellings have in common: GRPC_PORT, grpc.port."""
    return re.sub("[^a-z0-9]", "", dotted(path).lower())
