"""Sources of settings in their order: TOML files, secret files, variables, arguments."""

import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from ..errors import SettingsError
from . import opentelemetry, shapes
from .layers import Facts, Layer, Text, Texts, TomlFile, text_of
from .types import SettingsRoot


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


Reader = Callable[[type[SettingsRoot], Sources], Layer]


def layers(model: type[SettingsRoot], sources: Sources) -> Sequence[Layer]:
    """Read all layers, the lowest first; what nobody could read is a problem of its layer."""
    readers: tuple[Reader, ...] = (
        _facts,
        _default_file,
        _environment_file,
        _secret_files,
        _variables,
        _assignments,
    )
    found = [_read(read, model, sources) for read in readers]
    ours = readers.index(_variables)
    theirs = opentelemetry.layer(model, sources.variables, found[:ours], found[ours:])
    return [*found[:ours], theirs, *found[ours:]]


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
        said = "--env" if sources.environment else f"{sources.package.upper()}_ENV"
        raise SettingsError([f"{said}: not the name of an environment, such as production"])
    if not path.exists():
        others = sorted(each.stem for each in sources.folder.glob("*.toml"))
        there = ", ".join(each for each in others if each != "default") or "none"
        raise SettingsError([f"{path}: no such file; environments are: {there}"])
    return TomlFile(model, path)


def _secret_files(model: type[SettingsRoot], sources: Sources) -> Layer:
    prefix, ours, texts = sources.prefix.lower(), [], []
    problems: list[str] = []
    with suppress(OSError):  # most machines have no such folder, or one that is not for us
        ours = [path for path in _files(sources.shared_secrets) if _is_ours(path, prefix)]
    named = sources.secrets or sources.variables.get(f"{sources.package.upper()}_SECRETS")
    for path in [*ours, *(_files(Path(named)) if named else [])]:
        try:
            texts.append(_secret(model, path, prefix))
        except SettingsError as error:
            problems += error.mistakes
    return Texts(model, texts, "__", problems)


def _files(folder: Path) -> list[Path]:
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in visible if path.is_file())  # Kubernetes keeps ..data there, too


def _is_ours(path: Path, prefix: str) -> bool:
    return path.name.lower().startswith(prefix)


def _secret(model: type[SettingsRoot], path: Path, prefix: str) -> Text:
    name = path.name.lower().removeprefix(prefix).replace(".", "__")
    return Text(str(path), _key(model, name), text_of(path).rstrip("\r\n"))


def _key(model: type[SettingsRoot], name: str) -> str:
    """Return the key that a name means, whatever the case of the fields on its way."""
    return "__".join(shapes.spelled(model, name.lower().split("__")))


def _variables(model: type[SettingsRoot], sources: Sources) -> Layer:
    prefix, texts, problems = sources.prefix, [], []
    for name, text in sources.variables.items():
        meant = _almost(name, prefix, model)
        if name.upper().startswith(prefix):
            texts.append(Text(name, _key(model, name[len(prefix) :]), text))
        elif meant:
            problems.append(f"{name}: not a setting; did you mean {meant}?")
    return Texts(model, texts, "__", problems)


def _almost(name: str, prefix: str, model: type[SettingsRoot]) -> str:
    """Return what a name with almost our prefix meant; Kubernetes' own never hold two "_"."""
    head, two, rest = name.upper().partition("__")
    service = prefix.removesuffix("__")
    if two and re.sub("[^A-Z0-9]", "", head) == service.replace("_", ""):
        return f"{prefix}{rest}"
    ours, _, section = head.partition(f"{service}_")
    is_meant = two and not ours and section.lower() in model.model_fields
    return f"{prefix}{section}__{rest}" if is_meant else ""


def _assignments(model: type[SettingsRoot], sources: Sources) -> Layer:
    pairs = [assignment.partition("=") for assignment in sources.assignments]
    texts = [
        Text("--set", key.strip().replace('"', ""), text) for key, equals, text in pairs if equals
    ]
    problem = "--set: needs KEY=VALUE, as in --set http.port=8080"
    return Texts(model, texts, ".", [problem] if len(texts) < len(pairs) else [])
