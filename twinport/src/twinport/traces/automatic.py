"""Spans for the functions of whole modules that a setting names, without an edit in them."""

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FunctionType, ModuleType
from typing import Any

from ..errors import StartupError
from .traced import traced, was_decorated


@contextmanager
def automatic(modules: Sequence[str]) -> Iterator[None]:
    """Trace the public functions and methods of `modules` until the end; raises StartupError."""
    with ExitStack() as undo:
        _trace([_imported(name) for name in modules], undo)
        yield


def _trace(modules: Sequence[ModuleType], undo: ExitStack) -> None:
    members = [(module, member) for module in modules for _, member in _public(module, module)]
    for module, member in members:
        if isinstance(member, type):
            _trace_methods(member, module, undo)
    functions = [member for _, member in members if _is_function(member)]
    if functions:
        replace_everywhere({function: traced(function) for function in functions}, undo)


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, TypeError, ValueError) as error:  # the latter two: no absolute name
        raise StartupError(f"traces.functions: {name!r}: {error}") from error


def _public(owner: ModuleType | type, module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield what `owner` defines for others, as it is stored: a static method as staticmethod."""
    for name, value in list(vars(owner).items()):
        inner = getattr(value, "__func__", value)
        if not name.startswith("_") and getattr(inner, "__module__", "") == module.__name__:
            yield name, value


def _is_function(value: object) -> bool:
    return isinstance(value, FunctionType) and not was_decorated(value)


def _trace_methods(owner: type, module: ModuleType, undo: ExitStack) -> None:
    for name, method in _public(owner, module):
        if isinstance(method, staticmethod | classmethod) and _is_function(method.__func__):
            _set(owner, name, type(method)(traced(method.__func__)), undo)
        elif _is_function(method):
            _set(owner, name, traced(method), undo)


def replace_everywhere(
    functions: dict[Callable[..., Any], Callable[..., Any]], undo: ExitStack
) -> None:
    """Put others in the place of `functions`, also where they were imported by name."""
    modules = [module for module in list(sys.modules.values()) if isinstance(module, ModuleType)]
    for module in modules:
        held = [
            (name, functions[value])
            for name, value in list(vars(module).items())
            if isinstance(value, FunctionType) and value in functions
        ]
        for name, other in held:
            _set(module, name, other, undo)


def _set(owner: ModuleType | type, name: str, value: object, undo: ExitStack) -> None:
    undo.callback(setattr, owner, name, vars(owner)[name])
    setattr(owner, name, value)
