"""The command line: `run`, `config ...`, and what else the service brings along."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from .errors import FatalError, SettingsError
from .redact import usual
from .settings import Loaded, SettingsRoot, Sources, load
from .settings.reference import as_json, as_text, reference, schema_of_one_file


class Invocation(NamedTuple):
    """The parsed arguments of a command, and the settings that it is about."""

    arguments: argparse.Namespace
    model: type[SettingsRoot]
    sources: Sources

    def load(self) -> Loaded[Any]:
        """Return the settings in force; raises SettingsError."""
        return load(self.model, self.sources)


class Command(NamedTuple):
    """A subcommand; `run` returns the exit status, and raises SettingsError or FatalError."""

    name: str
    summary: str
    run: Callable[[Invocation], int]
    add_arguments: Callable[[argparse.ArgumentParser], object] = lambda parser: None


# Methods and path of each route, and what keeps it from the fast path: nothing if it takes that.
Ways = Sequence[tuple[Sequence[str], str, str]]
Routes = Callable[[Any], Ways]


def main(
    model: type[SettingsRoot],
    run: Callable[[Any], int],
    commands: Sequence[Command] = (),
    arguments: Sequence[str] | None = None,
    routes: Routes = lambda settings: (),
) -> int:
    """Run the command that is named; return 0, or 1 if it failed, or 2 for settings and usage.

    `routes` tells of the routes that a service with these settings has.
    """
    package = model.__module__.partition(".")[0]
    serve = Command("run", "serve until SIGINT or SIGTERM", lambda call: _serve(run, call))
    parser = _parser(package, [serve, *commands], _config_commands(routes))
    parsed, rest = parser.parse_known_args(arguments)
    if rest:  # its name only: what follows may be a secret
        names = [text.partition("=")[0] for text in rest if text.startswith("--")]
        parser.error(f"unrecognized arguments {' '.join(names)}".rstrip())
    sources = Sources(package, parsed.config, parsed.env, parsed.set, parsed.secrets)
    invocation = Invocation(parsed, model, sources)
    try:
        status: int = parsed.run(invocation)
        write("", sys.stdout)
    except SettingsError as error:
        return _fail(2, *error.mistakes)
    except FatalError as error:
        return _fail(1, f"{sources.program}: {usual().text(str(error))}")
    except BrokenPipeError:  # `config reference | head`: nobody wants the rest
        _forget_output(sys.stdout)
        return 0
    return status


def _serve(run: Callable[[Any], int], call: Invocation) -> int:
    status = run(call.load().settings)
    for stream in (sys.stdout, sys.stderr):
        with suppress(FatalError):  # it has served, whatever became of what was printed meanwhile
            write("", stream)
    return status


def _fail(status: int, *lines: str) -> int:
    shown = ("".join(char if char.isprintable() else " " for char in line) for line in lines)
    texts = ((sys.stdout, ""), (sys.stderr, "".join(f"{line}\n" for line in shown)))
    for stream, text in texts:
        with suppress(
            FatalError, BrokenPipeError
        ):  # of a disk that is full: the status still tells
            write(text, stream)
    return status


def _parser(
    package: str, commands: Sequence[Command], config_commands: Sequence[Command]
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(Sources(package).program, allow_abbrev=False)
    parser.add_argument(
        "--version",
        nargs=0,
        action=_Version,
        const=Sources(package),
        help="print the versions of the service and of twinport",
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in commands:
        _add(subparsers, command, package)
    config = subparsers.add_parser("config", help="check and show the settings")
    config_subparsers = config.add_subparsers(metavar="COMMAND", required=True)
    for command in config_commands:
        _add(config_subparsers, command, package)
    return parser


class _Version(argparse.Action):
    """Print the versions of the service and of this library; looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        service, library = self.const, __name__.partition(".")[0]
        _print(f"{service.program} {service.version} ({library} {metadata.version(library)})")
        parser.exit()


def _add(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
    command: Command,
    package: str,
) -> None:
    parser = subparsers.add_parser(
        command.name, help=command.summary, description=command.summary, allow_abbrev=False
    )
    parser.set_defaults(run=command.run)
    command.add_arguments(parser)
    name = package.upper()
    group = parser.add_argument_group("settings")
    group.add_argument("--env", default="", help=f"environment; else {name}_ENV, else development")
    group.add_argument("--config", type=Path, default=Path("config"), metavar="DIR", help="folder")
    group.add_argument("--secrets", type=Path, metavar="DIR", help=f"folder; else {name}_SECRETS")
    group.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="such as http.port=8080"
    )


def _check(invocation: Invocation) -> int:
    settings = invocation.load().settings
    for warning in settings.warnings():
        print(f"{invocation.sources.program}: warning: {warning}", file=sys.stderr)
    _print(f"the settings for {invocation.sources.chosen_environment} are right")
    return 0


def _show(routes: Routes, invocation: Invocation) -> int:
    loaded, is_json = invocation.load(), invocation.arguments.json
    if invocation.arguments.routes:
        ways = routes(loaded.settings)
        _print(_ways_as_json(ways) if is_json else _ways_as_text(ways))
    else:
        _print((as_json if is_json else as_text)(loaded))
    return 0


def _ways_as_text(ways: Ways) -> str:
    routes = [f"{','.join(methods)} {path}" for methods, path, _ in ways]
    width = max(map(len, routes), default=0)
    return "\n".join(
        f"{route:{width}}  {'FastAPI: ' + obstacle if obstacle else 'fast path'}"
        for route, (_, _, obstacle) in zip(routes, ways, strict=True)
    )


def _ways_as_json(ways: Ways) -> str:
    names = ("methods", "path", "obstacle")
    return json.dumps([dict(zip(names, way, strict=True)) for way in ways], indent=2)


def _schema(invocation: Invocation) -> int:
    _print(json.dumps(schema_of_one_file(invocation.model), indent=2))
    return 0


def _reference(invocation: Invocation) -> int:
    _print(reference(invocation.model))
    return 0


def _show_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    parser.add_argument(
        "--routes",
        action="store_true",
        help="instead, which way each route of REST goes; it opens what the service opens",
    )


def _config_commands(routes: Routes) -> Sequence[Command]:
    show = partial(_show, routes)
    return (
        Command("check", "name every mistake in the settings", _check),
        Command("show", "show each value and where it came from", show, _show_flags),
        Command("schema", "print the JSON Schema of a file of settings", _schema),
        Command("reference", "print every setting there is, as commented TOML", _reference),
    )


def _print(text: str) -> None:
    """Print `text`, whatever the terminal can write."""
    if sys.stdout is None:  # closed by `>&-`: there is nobody to print for
        return
    encoding = sys.stdout.encoding
    shown = text.encode(encoding, "backslashreplace").decode(encoding).rstrip("\n")
    write(f"{shown}\n", sys.stdout)


def write(text: str, stream: TextIO | None) -> None:
    """Write what waits, and `text`; raises FatalError or BrokenPipeError, and forgets it, if not.

    None is a stream that was closed before the start: there is nobody to write for.
    """
    if stream is None:
        return
    try:
        print(text, end="", file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:  # a disk that is full
        _forget_output(stream)
        raise FatalError(f"cannot write the output: {error.strerror}") from error


def _forget_output(stream: TextIO) -> None:
    """Let Python find nothing to complain of when it flushes at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
