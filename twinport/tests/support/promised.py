"""Everything whose names a minor version keeps; run it to write `tests/promised.txt` anew."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

import twinport
from twinport.calls import Call
from twinport.clients.outgoing_call import ClientCall
from twinport.metrics.metrics import Metrics, Readings
from twinport.metrics.settings import MetricsSettings
from twinport.settings.reference import reference

SOURCE = Path(twinport.__file__).parent
FILE = Path(__file__).parents[1] / "promised.txt"
PUBLIC = ("", "clients", "rest", "settings", "testing")
NOT_FOR_A_SERVICE = re.compile(r"Service\.(__init__|route_ways|running|still_running)\(")
TABLE = re.compile(r"^#\[(.+)\]$|^#([\w.\"-]+) = ", re.MULTILINE)


def names_of(package: str) -> Iterator[tuple[str, Path]]:
    """Yield each name that is public in a package of the library, and where it is defined."""
    folder = SOURCE / package
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)):
        parent = folder.parents[node.level - 2] if node.level > 1 else folder
        path = parent / f"{(node.module or '').replace('.', '/')}.py"
        named = {alias.name for alias in node.names}
        yield from ((name, path) for name in sorted(named & listed(tree, named)))


def listed(tree: ast.Module, named: set[str]) -> set[str]:
    """Return what `__all__` has; without one everything is public but what makes the names lazy."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return named - {"TYPE_CHECKING", "lazily"}


def described(name: str, path: Path) -> Iterator[str]:
    """Yield what a name is, as its source says: signatures, bases, public members."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.ClassDef(name=found) if found == name:
                yield f"{name}({', '.join(map(ast.unparse, node.bases))})"
                yield from (f"{name}.{each}" for each in members(node))
            case ast.FunctionDef(name=found) | ast.AsyncFunctionDef(name=found) if found == name:
                yield signature(node)
            case ast.Assign(targets=[ast.Name(id=found)]) if found == name:
                yield ast.unparse(node)


def members(node: ast.ClassDef) -> Iterator[str]:
    for each in node.body:
        match each:
            case ast.FunctionDef(name="__init__"):
                yield signature(each)
                yield from attributes(each)
            case ast.FunctionDef() | ast.AsyncFunctionDef() if is_public(each.name):
                yield signature(each)
            case ast.AnnAssign(target=ast.Name(id=name)) if is_public(name):
                yield f"{name}: {ast.unparse(each.annotation)}"
            case ast.Assign(value=ast.Tuple() | ast.Constant()):  # of an error: code and status
                yield ast.unparse(each)


def attributes(made: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(made):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield from [name] if is_public(name) else []


def is_public(name: str) -> bool:
    return not name.startswith("_")


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returned}"


def imports() -> Iterator[str]:
    for package in (each for each in PUBLIC if (SOURCE / each / "__init__.py").exists()):
        module = ".".join(filter(None, ["twinport", package]))
        for name, path in sorted(names_of(package)):
            said = (each for each in described(name, path) if not NOT_FOR_A_SERVICE.match(each))
            yield from (f"{module}.{each}" for each in said)


def settings() -> Iterator[str]:
    table = ""
    for section, key in TABLE.findall(reference(twinport.Settings)):
        table = section or table
        if key:
            yield f"{table}.{key}"


def metrics() -> Iterator[str]:
    some = {"some": 0}
    measured = Metrics(MetricsSettings(), Readings(lambda: some, lambda: some, lambda: 0, some))
    for transport in ("http", "grpc"):
        measured.observe(Call(transport, "a" * 32, "b" * 16))
        measured.observe_client(ClientCall("next", transport, "GET", 1.0))
    ours = r"^(# \w+ )?(http|rpc|server|event|traces|logs|background)_.*\n"
    text = "".join(found[0] for found in re.finditer(ours, measured.render().decode(), re.M))
    for family in text_string_to_metric_families(text):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        yield f"{family.name} {family.type} {' '.join(sorted(labels))}".rstrip()


def promised(log_fields: set[str]) -> str:
    parts = {
        "imports": imports(),
        "settings": sorted(set(settings())),
        "metrics": sorted(metrics()),
        "log fields": sorted(log_fields),
    }
    texts = ["\n".join([f"# {title}", "", *lines]) for title, lines in parts.items()]
    return "\n\n".join(texts) + "\n"
