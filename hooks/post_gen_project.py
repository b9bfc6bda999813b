"""Put the library into vendor/, note where the service came from, and say what to type next."""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

answers = json.loads(r"""{{ cookiecutter | jsonify }}""")
template = Path(r"""{{ cookiecutter.service_name | template_folder }}""")
PARTS = ("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "docs", "src")
LEFTOVERS = shutil.ignore_patterns("__pycache__", "*.py[co]", "*.egg-info", ".*", "*~")
HOSTS = {"gh": "https://github.com/{}.git", "gl": "https://gitlab.com/{}.git"}


def vendor(library: Path) -> None:
    """Copy the library as it is at the template; nothing is installed or asked of a network."""
    for part in PARTS:
        source, target = template / "twinport" / part, library / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=LEFTOVERS, dirs_exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def origin() -> str:
    """Return what `cruft` can clone; raises ValueError that says why there is nothing."""
    named = str(answers["_template"])
    host, colon, path = named.partition(":")
    if colon and host in HOSTS:
        return HOSTS[host].format(path)
    if named.endswith(".zip"):
        raise ValueError("a zip archive has no commits")
    if "://" not in named and "@" not in named and not Path(named).is_absolute():
        raise ValueError(f"{named!r} is a relative path")
    return named


def commit() -> str:
    """Return the commit that the template is at; raises ValueError."""
    if git("rev-parse", "--show-toplevel") != str(template.resolve()):
        raise ValueError("the template is no git repository of its own")
    if git("status", "--porcelain"):
        raise ValueError("the template has changes that are not committed")
    return git("rev-parse", "HEAD")


def git(*arguments: str) -> str:
    command = ("git", "-C", str(template), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        raise ValueError("git is not installed") from None
    return done.stdout.strip()


def note_origin() -> None:
    """Write .cruft.json, as `cruft create` does, so that `cruft update` works later."""
    try:
        state = {"template": origin(), "commit": commit(), "checkout": None}
    except ValueError as reason:
        print(f"\n    Where it came from is not recorded, so `cruft update` cannot be used: {reason}.")
        return
    known = {key: value for key, value in answers.items() if key not in ("_repo_dir", "_output_dir")}
    context = {"cookiecutter": known | {"_template": state["template"]}}
    text = json.dumps(state | {"context": context, "directory": None}, ensure_ascii=False, indent=2)
    Path(".cruft.json").write_text(f"{text}\n", encoding="utf-8")


project = Path.cwd()
vendor(project / "vendor/twinport")
if "_repo_dir" in answers:  # cruft, which notes it by itself, sets none
    note_origin()
typed_in = Path(os.environ.get("PWD", project.parent)).resolve()  # the hook runs in the project
shown = project.relative_to(typed_in) if project.is_relative_to(typed_in) else project
print(f"\n    cd {shlex.quote(str(shown))}\n    make run\n")
