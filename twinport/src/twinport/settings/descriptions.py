"""What a setting is: the docstring below its field, read when somebody asks.

Pydantic can read them too (use_attribute_docstrings), but does so at each import, a tenth of
a start.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from . import shapes


def describe(model: type[BaseModel]) -> None:
    """Give each field of `model`, and of the models in it, its description."""
    for each in dict.fromkeys(_models(model, set())):
        for name, text in descriptions(each).items():
            field = each.model_fields[name]
            field.description = field.description or text
        each.model_rebuild(force=True)


def descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the docstring of each field of `model` that has one, inherited ones included."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            found |= {name: text for name, text in _docstrings(each) if name in model.model_fields}
    return found


def _models(kind: Any, seen: set[Any]) -> Iterator[type[BaseModel]]:
    """Yield the models in `kind`, those inside before those around them."""
    for each in shapes.alternatives(kind):
        if each in seen:
            continue
        seen.add(each)
        for inner in (*shapes.fields(each).values(), shapes.entry(each)):
            yield from _models(inner, seen)
        if isinstance(each, type) and issubclass(each, BaseModel):
            yield each


def _docstrings(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    except (OSError, TypeError, SyntaxError):  # no source at hand
        return
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    for statement, below in pairwise(body):
        match statement, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text)
