"""Which names of libraries the sources here override, assign or read although they are private.

Read from the classes and from the syntax trees, so that a name which somebody adds is found.
"""

import ast
import importlib
import inspect
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import twinport

SOURCE = Path(twinport.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
NATIVE = frozenset({*sys.stdlib_module_names, "twinport"})
SELF = {"self", "cls"}
PYTHONS_OWN = re.compile(r"__\w+__|_asdict|_replace|_fields")  # the last ones are of named tuples
ASGI_KEY = re.compile(r"(starlette|fastapi)[._]\w+")
ANYWHERE = ""  # a name of which only the name is known, not the class


class Name(NamedTuple):
    """A name, and the class (`module:Class`) or the module that it belongs to."""

    place: str
    name: str


def is_foreign(module: str) -> bool:
    return module.partition(".")[0] not in NATIVE


def is_private(name: str) -> bool:
    return name.startswith("_") and not PYTHONS_OWN.fullmatch(name)


def place_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def names_in(path: Path, known: set[str]) -> Iterator[Name]:
    """Yield the names that a module needs; of an object whose class is in `known`, all of them."""
    tree, module = ast.parse(path.read_text(encoding="utf-8")), module_of(path)
    yield from _of_arguments(tree, module, known)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and hasattr(module, node.name):
            yield from _of_bases(node, getattr(module, node.name))
        else:
            yield from (Name(*each) for each in _alone(node, module, known))


@cache
def module_of(path: Path) -> ModuleType:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return importlib.import_module(".".join(part for part in parts if part != "__init__"))


def _of_bases(node: ast.ClassDef, kind: type) -> Iterator[Name]:
    """Yield what a class of ours overrides, assigns or reads of the foreign ones below it."""
    bases = [each for each in kind.__mro__[1:] if is_foreign(each.__module__)]
    for name in {*_defined(node.body), *_of_self(node)}:
        holders = [base for base in bases if name in attributes(base)]
        if holders and not PYTHONS_OWN.fullmatch(name):
            yield Name(place_of(holders[0]), name)


@cache
def attributes(kind: type) -> frozenset[str]:
    """Return the attributes of a class and of its instances, as its sources assign them."""
    found = {*dir(kind)}
    for each in kind.__mro__:
        if is_foreign(each.__module__):
            found |= _assigned_by(each)
    return frozenset(found)


def _assigned_by(kind: type) -> set[str]:
    tree = _classes_of(kind.__module__).get(kind.__name__)
    return {*_defined(tree.body), *_of_self(tree, (ast.Store,))} if tree else set()


@cache
def _classes_of(module: str) -> dict[str, ast.ClassDef]:
    """Return the classes of a module that is written in Python."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):
        return {}
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def _defined(body: Sequence[ast.stmt]) -> Iterator[str]:
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=targets):
                yield from (each.id for each in targets if isinstance(each, ast.Name))


def _of_self(node: ast.AST, contexts: tuple[type, ...] = (ast.Load, ast.Store)) -> Iterator[str]:
    for each in ast.walk(node):
        match each:
            case ast.Attribute(value=value, attr=attr, ctx=ctx) if _is_self(value):
                yield from [attr] if isinstance(ctx, contexts) else []


def _is_self(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name):
            return name in SELF
        case ast.Call(func=ast.Name(id="super")):
            return True
    return False


def _of_arguments(tree: ast.AST, module: ModuleType, known: set[str]) -> Iterator[Name]:
    """Yield what is read and assigned of variables that have the name of an argument of a class."""
    kinds: defaultdict[str, set[type]] = defaultdict(set)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            classes = _classes(node.annotation, module)
            kinds[node.arg] |= {kind for kind in classes if place_of(kind) in known}
    for name, attr in _attributes_of_variables(tree):
        holders = [kind for kind in kinds[name] if attr in attributes(kind)]
        yield from (Name(place_of(kind), attr) for kind in holders)


def _attributes_of_variables(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for each in ast.walk(tree):
        match each:
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name not in SELF:
                yield name, attr


def _classes(annotation: ast.expr | None, module: ModuleType) -> Iterator[type]:
    match annotation:
        case ast.BinOp(left=left, right=right):
            yield from _classes(left, module)
            yield from _classes(right, module)
        case ast.Name(id=name) if isinstance(kind := getattr(module, name, None), type):
            yield from kind.__mro__


def _alone(node: ast.AST, module: ModuleType, known: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the names of one node, whatever it is a part of."""
    match node:
        case ast.ImportFrom():
            yield from _of_import(node)
        case ast.Attribute(ctx=ctx, attr=attr, value=value) if not _is_self(value):
            yield from [(ANYWHERE, attr)] if isinstance(ctx, ast.Store) or is_private(attr) else []
        case ast.Call():
            yield from _of_call(node, module, known)
        case ast.Subscript(value=value, slice=ast.Constant(value=str(key))):
            is_named = ast.unparse(value).startswith("vars(") or ASGI_KEY.fullmatch(key)
            yield from [(ANYWHERE, key)] if is_named else []


def _of_import(node: ast.ImportFrom) -> Iterator[tuple[str, str]]:
    module = node.module or ""
    if node.level or not is_foreign(module):
        return
    hidden = any(map(is_private, module.split(".")))
    yield from ((module, each.name) for each in node.names if hidden or is_private(each.name))


def _of_call(call: ast.Call, module: ModuleType, known: set[str]) -> Iterator[tuple[str, str]]:
    words = [each.arg for each in call.keywords if each.arg]
    yield from ((ANYWHERE, word) for word in words if is_private(word))
    match call.func, call.args:
        case ast.Attribute(attr="getLogger"), [ast.Constant(value=str(name))] if "._" in name:
            yield (name, "_LOGGER")
        case ast.Name(id="getattr" | "setattr"), [_, ast.Constant(value=str(name)), *_]:
            yield from [(ANYWHERE, name)] if is_private(name) else []
        case ast.Name(id=name), _ if isinstance(kind := getattr(module, name, None), type):
            init = f"{place_of(kind)}.__init__"
            yield from ((init, word) for word in words if init in known)
        case ast.Name(id="named"), [ast.Constant(value=str(place))]:
            yield (place.partition(":")[0], place.partition(":")[2])


@cache
def our_attributes() -> frozenset[str]:
    """Return what classes here call their own attributes: no library's, unless it is its base's."""
    found: set[str] = set()
    for node in chain.from_iterable(map(_classes_in, MODULES)):
        found |= {*_defined(node.body), *_of_self(node, (ast.Store,)), *_slots(node)}
    return frozenset(found)


def _classes_in(path: Path) -> Iterator[ast.ClassDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def _slots(node: ast.ClassDef) -> Iterator[Any]:
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=ast.Tuple(elts=names)):
                yield from (each.value for each in names if isinstance(each, ast.Constant))
