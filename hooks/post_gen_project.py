"""Leave out what was not chosen, add store and library, and say what to type next."""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

answers = json.loads(r"""{{ cookiecutter | jsonify }}""")
template = Path(r"""{{ cookiecutter.service_name | template_folder }}""")
PARTS = {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "docs", "src"}
LEFTOVERS = shutil.ignore_patterns("__pycache__", "*.py[co]", "*.egg-info", ".*", "*~")
# Paths that stay only with one of these answers to a question.
ONLY_WITH = {
    ".github": ("ci", "github"),
    ".gitlab-ci.yml": ("ci", "gitlab"),
    "deploy/kubernetes/migrate": ("store", "sql"),
    "deploy/kubernetes/overlays/development/database.yaml": ("store", "sql"),
    "deploy/kubernetes/overlays/production": ("store", "sql", "redis"),
}
NOT_FOR_CRUFT = {"_repo_dir", "_output_dir", "_checkout"}  # of this machine, or said elsewhere


def unwanted(folder: str, names: list[str]) -> set[str]:
    """Return what `vendor/twinport` does without: tests, locks, what an installation left there."""
    others = set(names) - PARTS if Path(folder) == template / "twinport" else set()
    return others | LEFTOVERS(folder, names)


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def git(*arguments: str) -> str:
    """Return what git says of the template, not of a repository around it; raises ValueError."""
    command = ["git", f"--git-dir={template / '.git'}", f"--work-tree={template}", *arguments]
    done = subprocess.run(command, cwd=template, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError("the template is no git repository of its own")
    return done.stdout.strip()


def origin() -> str:
    """Return what `cruft create` notes, so that `cruft update` works later; raises ValueError."""
    named, folder = answers["_template"], answers["_repo_dir"]
    if named.lower().endswith(".zip"):
        raise ValueError("a zip archive has no commits")
    if named == folder and not Path(named).is_absolute():
        raise ValueError("the path of the template is relative")
    if git("status", "--porcelain"):
        raise ValueError("the template has changes that are not committed")
    address = named if named == folder else git("config", "remote.origin.url")
    found = {"template": address, "commit": git("rev-parse", "HEAD")}
    known = {key: value for key, value in answers.items() if key not in NOT_FOR_CRUFT}
    known |= {f"_{key}": value for key, value in found.items()}
    state = found | {"checkout": answers["_checkout"], "directory": None}
    state |= {"context": {"cookiecutter": known}}
    return json.dumps(state, ensure_ascii=False, indent=2)


project = Path.cwd()
shutil.copytree(project / "stores" / answers["store"], project, dirs_exist_ok=True)
shutil.rmtree(project / "stores")
for path, (question, *choices) in ONLY_WITH.items():
    if answers[question] not in choices:
        remove(project / path)
shutil.rmtree(project / "vendor/twinport", ignore_errors=True)
shutil.copytree(template / "twinport", project / "vendor/twinport", ignore=unwanted)
if "_repo_dir" in answers:  # cruft, which notes it by itself, sets none
    try:
        Path(".cruft.json").write_text(f"{origin()}\n", encoding="utf-8")
    except (OSError, ValueError) as reason:  # of the first kind is a git that is not installed
        print(f"\n    Where it came from is not recorded, so cruft cannot update it: {reason}.")
typed_in = Path(os.environ.get("PWD", project.parent)).resolve()  # the hook runs in the project
shown = project.relative_to(typed_in) if project.is_relative_to(typed_in) else project
print(f"\n    cd {shlex.quote(str(shown))}\n    make run\n")
