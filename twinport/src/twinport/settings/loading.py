"""Loads settings from files, variables and the command line, or names every mistake at once."""

import os
import re
import socket
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import (
    BaseModel,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)

from ..errors import FatalError, SettingsError
from . import opentelemetry
from .introspection import (
    KeyPath,
    alternatives,
    default_tables,
    dotted,
    fields,
    is_one_of,
    leaves,
    respelled,
)
from .layers import Assignment, Assignments, Facts, Layer, TomlFile, layer_of, text_of
from .mistakes import unknown_keys, unusable_texts, wrong_values
from .types import SOURCES, SettingsRoot


@dataclass(frozen=True)
class Sources:
    """Where the settings of the service in `package` come from."""

    package: str  # "order_book": its variables start with ORDER_BOOK
    folder: Path = Path("config")
    environment: str = ""  # empty: what ORDER_BOOK_ENV says, else development
    assignments: Sequence[str] = field(default=(), repr=False)  # "http.port=8080"
    secrets: Path | None = None  # None: what ORDER_BOOK_SECRETS says, else no folder
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    shared_secrets: Path = Path("/run/secrets")  # others keep files there, too

    @property
    def program(self) -> str:
        """Name of the distribution and of the command, such as "order-book"."""
        return self.package.replace("_", "-")

    @property
    def version(self) -> str:
        """Version of that distribution, "0.0.0" where it is not installed."""
        try:
            return metadata.version(self.program)
        except metadata.PackageNotFoundError:
            return "0.0.0"

    @property
    def prefix(self) -> str:
        """What names of variables and of shared secrets start with, such as "ORDER_BOOK__"."""
        return f"{self.package.upper()}__"

    @property
    def chosen_environment(self) -> str:
        """The environment whose file is read."""
        named = self.environment or self.variables.get(f"{self.package.upper()}_ENV")
        return named or "development"


Root = TypeVar("Root", bound=SettingsRoot)


@dataclass(frozen=True)
class Loaded(Generic[Root]):
    """Settings in force, and what it takes to say where each value came from."""

    settings: Root
    layers: Sequence[Layer]

    @cached_property
    def tables(self) -> Mapping[str, Any]:
        """All values as JSON writes them, plain texts that are secrets included."""
        try:
            return self.settings.model_dump(mode="json", by_alias=True, fallback=_name_of_type)
        except Exception as error:  # of a type from elsewhere, which may raise anything
            raise FatalError(f"the settings cannot be shown: {type(error).__name__}") from error

    @cached_property
    def origins(self) -> Mapping[str, str]:
        """Where each value came from, by dotted key: "config/default.toml:12", "default"."""
        return {dotted(path): self._origin(path) for path, _ in leaves(self.tables)}

    def _origin(self, path: KeyPath) -> str:
        layer = layer_of(self.layers, path)
        return layer.origin(path) if layer else "default"


def _name_of_type(value: object) -> str:
    return f"<{type(value).__name__}>"


def load(model: type[Root], sources: Sources) -> Loaded[Root]:
    """Read, merge and check all layers; raises SettingsError with every mistake."""
    complete(model)
    layers = _layers(model, sources)
    problems = [problem for layer in layers for problem in layer.problems]
    problems += [*unknown_keys(model, layers), *unusable_texts(layers)]
    try:
        settings = _built(model, layers)
    except ValidationError as error:
        problems += wrong_values(model, layers, error)
    except Exception as error:  # of a rule in a model from elsewhere, which may raise anything
        raise SettingsError([*problems, _broken_rule(error)]) from error
    if problems:
        raise SettingsError(list(dict.fromkeys(problems)))
    settings._read_again = lambda: load(model, sources).settings
    return Loaded(settings, layers)


def _built(model: type[Root], layers: Sequence[Layer]) -> Root:
    build: Callable[[], Root] = model  # without keywords: pydantic-settings reads the layers
    token = SOURCES.set(tuple(reversed(layers)))
    try:
        return build()
    finally:
        SOURCES.reset(token)


def _broken_rule(error: Exception) -> str:
    """Return where a rule failed; what it says may hold a secret."""
    *_, rule = traceback.extract_tb(error.__traceback__)
    return f"{rule.filename}:{rule.lineno}: {rule.name} raised {type(error).__name__}"


def changed(old: SettingsRoot, new: SettingsRoot) -> list[str]:
    """Return the dotted keys whose values differ."""
    before, after = (dict(leaves(settings.model_dump())) for settings in (old, new))
    paths = dict.fromkeys([*before, *after])
    differing = [path for path in paths if before.get(path) != after.get(path)]
    return [dotted(path) for path in differing if before.get(path) != {} != after.get(path)]


def complete(model: type[BaseModel]) -> None:
    """Build what checks `model`; raises SettingsError with each field whose type is of no use."""
    try:
        model.model_rebuild()
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        problems = [f"{dotted(path)}: {problem}" for path, problem in _unusable(model, ())]
        raise SettingsError(problems or [_reason(model, error)]) from error


def _unusable(
    annotation: Any, path: KeyPath, above: Sequence[Any] = ()
) -> Iterator[tuple[KeyPath, str]]:
    for name, inner in fields(annotation).items():
        if is_one_of(inner, above):
            continue
        try:
            TypeAdapter(inner).rebuild(force=True)
        except (PydanticUserError, PydanticUndefinedAnnotation) as error:
            deeper = list(_unusable(inner, (*path, name), [*above, *alternatives(inner)]))
            yield from deeper or [((*path, name), _reason(inner, error))]


def _reason(kind: Any, error: PydanticUserError | PydanticUndefinedAnnotation) -> str:
    if isinstance(error, PydanticSchemaGenerationError):
        name = kind.__qualname__ if isinstance(kind, type) else str(kind)
        return f"pydantic cannot fill {name}; use a pydantic model, a dataclass or a TypedDict"
    return str(error).splitlines()[0]


Reader = Callable[[type[SettingsRoot], Sources], Layer]


def _layers(model: type[SettingsRoot], sources: Sources) -> Sequence[Layer]:
    """Read all layers, the lowest first; what nobody could read is a problem of its layer."""

    def read(*readers: Reader) -> list[Layer]:
        return [_read(each, model, sources) for each in readers]

    files = read(_facts, _default_file, _environment_file)
    below = [*files, *read(partial(_secret_files, files))]
    above = read(partial(_variables, below), _arguments)
    middle = opentelemetry.layer(model, sources.variables, below, above)
    layers = [*below, middle, *above]
    return [*(Facts(model, default_tables(model, each.values)) for each in layers), *layers]


def _read(read: Reader, model: type[SettingsRoot], sources: Sources) -> Layer:
    try:
        return read(model, sources)
    except SettingsError as error:
        problems = error.mistakes
    except OSError as error:  # a folder that may not be entered
        problems = (f"{error.filename}: {error.strerror}",)
    return Facts(model, {}, problems)


def _facts(model: type[SettingsRoot], sources: Sources) -> Layer:
    environment, host = sources.chosen_environment, socket.gethostname()
    facts = {"version": sources.version, "environment": environment, "instance": host}
    return Facts(model, {"service": facts})


def _default_file(model: type[SettingsRoot], sources: Sources) -> Layer:
    return TomlFile(model, sources.folder / "default.toml")


def _environment_file(model: type[SettingsRoot], sources: Sources) -> Layer:
    name = sources.chosen_environment
    path = sources.folder / f"{name}.toml"
    if not re.fullmatch(r"(?!default$)[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        origin = "--env" if sources.environment else f"{sources.package.upper()}_ENV"
        raise SettingsError([f"{origin}: not the name of an environment, such as production"])
    if not path.exists():
        others = sorted(each.stem for each in sources.folder.glob("*.toml"))
        there = ", ".join(each for each in others if each != "default") or "none"
        raise SettingsError([f"{path}: no such file; environments are: {there}"])
    return TomlFile(model, path)


def _secret_files(below: Sequence[Layer], model: type[SettingsRoot], sources: Sources) -> Layer:
    prefix, paths = sources.prefix.lower(), []
    texts: list[Assignment] = []
    problems: list[str] = []
    with suppress(OSError):  # most machines have no such folder, or one that is not for us
        shared = _files(sources.shared_secrets)
        paths = [path for path in shared if path.name.lower().startswith(prefix)]
    named = sources.secrets or sources.variables.get(f"{sources.package.upper()}_SECRETS")
    for path in [*paths, *(_files(Path(named)) if named else [])]:
        is_prefixed = path.name.lower().startswith(prefix)
        key = path.name[len(prefix) if is_prefixed else 0 :].replace(".", "__")
        try:
            texts.append(Assignment(str(path), (*key.split("__"),), text_of(path).rstrip("\r\n")))
        except SettingsError as error:
            problems += error.mistakes
    return _in_any_case(model, texts, problems, below)


def _files(folder: Path) -> list[Path]:
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in visible if path.is_file())  # Kubernetes keeps ..data there, too


def _in_any_case(
    model: type[SettingsRoot],
    assignments: Sequence[Assignment],
    problems: list[str],
    below: Sequence[Layer],
) -> Layer:
    """Return texts for keys, each with the case that it has as a field or in the layers `below`."""
    tables = [layer.values for layer in below]
    found: list[Assignment] = []
    for each in sorted(assignments, key=lambda each: len(each.path)):  # a table, then what is in it
        try:
            found.append(each._replace(path=tuple(respelled(model, each.path, tables))))
        except LookupError as error:
            problems.append(
                f"{each.origin}: {error}; write it in the case of the one that is meant"
            )
        else:
            tables.append(Assignments(model, found[-1:]).values)
    return Assignments(model, found, problems)


def _variables(below: Sequence[Layer], model: type[SettingsRoot], sources: Sources) -> Layer:
    prefix = sources.prefix
    texts: list[Assignment] = []
    problems: list[str] = []
    for name, text in sources.variables.items():
        if name.upper().startswith(prefix):
            texts.append(Assignment(name, (*name[len(prefix) :].split("__"),), text))
        elif meant := _meant(name, prefix, model):
            problems.append(f"{name}: not a setting; did you mean {meant}?")
    return _in_any_case(model, texts, problems, below)


def _meant(name: str, prefix: str, model: type[SettingsRoot]) -> str:
    """Return what a name with almost our prefix meant; Kubernetes' own never hold two "_"."""
    head, two, rest = name.upper().partition("__")
    service = prefix.removesuffix("__")
    if two and re.sub("[^A-Z0-9]", "", head) == service.replace("_", ""):
        return f"{prefix}{rest}"
    before, _, section = head.partition(f"{service}_")
    is_meant = two and not before and section.lower() in model.model_fields
    return f"{prefix}{section}__{rest}" if is_meant else ""


def _arguments(model: type[SettingsRoot], sources: Sources) -> Layer:
    pairs = [assignment.partition("=") for assignment in sources.assignments]
    texts = [
        Assignment("--set", tuple(key.strip().replace('"', "").split(".")), text)
        for key, equals, text in pairs
        if equals
    ]
    problem = "--set: needs KEY=VALUE, as in --set http.port=8080"
    return Assignments(model, texts, [problem] if len(texts) < len(pairs) else [])
