"""The places that settings come from, in the order in which one overrides the other."""

import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from ..errors import SettingsError
from .kinds import SettingsRoot
from .layers import Facts, Layer, TomlFile, text_of
from .texts import Text, Texts


@dataclass(frozen=True)
class Sources:
    """Where the settings of the service in `package` come from."""

    package: str  # "order_book": its variables start with ORDER_BOOK
    folder: Path = Path("config")
    environment: str = ""  # empty: what ORDER_BOOK_ENV says, else development
    assignments: Sequence[str] = ()  # "http.port=8080"
    secrets: Path | None = None  # None: what ORDER_BOOK_SECRETS says, else no folder
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ)
    shared_secrets: Path = Path("/run/secrets")  # others keep files there, too

    @property
    def program(self) -> str:
        """Name of the distribution and of the command, such as "order-book"."""
        return self.package.replace("_", "-")

    @property
    def prefix(self) -> str:
        """What names of variables and of shared secrets start with, such as "ORDER_BOOK__"."""
        return f"{self.package.upper()}__"

    @property
    def chosen_environment(self) -> str:
        """The environment whose file is read."""
        named = self.environment or self.variables.get(f"{self.package.upper()}_ENV")
        return named or "development"


def layers(model: type[SettingsRoot], sources: Sources) -> Sequence[Layer]:
    """Read all layers, the lowest first; raises SettingsError with what nobody could read."""
    readers: tuple[Callable[[type[SettingsRoot], Sources], Layer], ...] = (
        _facts,
        _default_file,
        _environment_file,
        _secret_files,
        _variables,
        _assignments,
    )
    found: list[Layer] = []
    problems: list[str] = []
    for read in readers:
        try:
            found.append(read(model, sources))
        except SettingsError as error:
            problems += error.mistakes
    if problems:
        raise SettingsError(problems)
    return found


def _facts(model: type[SettingsRoot], sources: Sources) -> Layer:
    try:
        version = metadata.version(sources.program)
    except metadata.PackageNotFoundError:
        version = "0.0.0"
    environment, host = sources.chosen_environment, socket.gethostname()
    facts = {"version": version, "environment": environment, "instance": host}
    return Facts(model, {"service": facts})


def _default_file(model: type[SettingsRoot], sources: Sources) -> Layer:
    return TomlFile(model, sources.folder / "default.toml")


def _environment_file(model: type[SettingsRoot], sources: Sources) -> Layer:
    name = sources.chosen_environment
    path = sources.folder / f"{name}.toml"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise SettingsError(["--env: not the name of an environment, such as production"])
    if not path.exists():
        others = sorted(each.stem for each in sources.folder.glob("*.toml"))
        there = ", ".join(each for each in others if each != "default") or "none"
        raise SettingsError([f"{path}: no such file; environments are: {there}"])
    return TomlFile(model, path)


def _secret_files(model: type[SettingsRoot], sources: Sources) -> Layer:
    texts = list(_texts_in(sources.shared_secrets, sources.prefix.lower(), others=True))
    named = sources.secrets or sources.variables.get(f"{sources.package.upper()}_SECRETS")
    if named:
        if not Path(named).is_dir():
            raise SettingsError([f"{named}: no such folder of secrets"])
        texts += _texts_in(Path(named), sources.prefix.lower(), others=False)
    return Texts(model, texts, "__")


def _texts_in(folder: Path, prefix: str, *, others: bool) -> Iterator[Text]:
    """Yield what our files say; where `others` keep files, ours are those with the prefix."""
    for path in sorted(folder.glob("[!.]*")):  # Kubernetes keeps ..data there
        name = path.name.lower()
        ours = name.startswith(prefix) or not others
        if ours and path.is_file():
            key = name.removeprefix(prefix).replace(".", "__")
            yield Text(str(path), key, text_of(path).rstrip("\r\n"))


def _variables(model: type[SettingsRoot], sources: Sources) -> Layer:
    prefix, texts, problems = sources.prefix, [], []
    for name, text in sources.variables.items():
        meant = _almost(name, prefix, model)
        if name.upper().startswith(prefix):
            texts.append(Text(name, name[len(prefix) :].lower(), text))
        elif meant:
            problems.append(f"{name}: not a setting; did you mean {meant}?")
    if problems:
        raise SettingsError(problems)
    return Texts(model, texts, "__")


def _almost(name: str, prefix: str, model: type[SettingsRoot]) -> str:
    """Return what a name with almost our prefix meant; Kubernetes' own never hold two "_"."""
    head, two, rest = name.upper().partition("__")
    service = prefix.removesuffix("__")
    if not two:
        return ""
    if re.sub("[^A-Z0-9]", "", head) == service.replace("_", ""):
        return f"{prefix}{rest}"
    section = head.removeprefix(f"{service}_")
    return f"{prefix}{section}__{rest}" if section.lower() in model.model_fields else ""


def _assignments(model: type[SettingsRoot], sources: Sources) -> Layer:
    texts = []
    for assignment in sources.assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise SettingsError(["--set: needs KEY=VALUE, as in --set http.port=8080"])
        texts.append(Text("--set", key.strip().replace('"', ""), text))
    return Texts(model, texts, ".")
