"""Check the answers right after each question; a refusal is one plain line and exit status 2."""

import json
import keyword
import re
import sys
from pathlib import Path

from click import ClickException
from cookiecutter.utils import simple_filter

NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
LONGEST = 36  # characters; with more, import lines in the tests outgrow their 100 columns
# Of a service, and those that git or ruff skip wherever they are.
OWN_FOLDERS = {"config", "deploy", "proto", "src", "tests", "vendor"}
OWN_FOLDERS |= {"build", "buck-out", "dist", "node-modules", "site-packages"}
LIBRARY = "twinport"  # which no lock names, so taken-names.txt does not
TEMPLATE = Path(__file__).parent


class RefusedAnswer(ClickException):
    """What click prints as one line (a UsageError would put two lines of usage above it)."""

    exit_code = 2


@simple_filter
def package_name(service_name: str) -> str:
    """Return `service_name` with underscores; raises RefusedAnswer."""
    if mistake := _mistake(service_name):
        raise RefusedAnswer(f"service_name {service_name!r}: {mistake}")
    return service_name.replace("-", "_")


@simple_filter
def toml_string(answer: str) -> str:
    """Return `answer` as a basic string of TOML, quotes included; raises RefusedAnswer."""
    if not answer.strip() or not answer.isprintable():
        raise RefusedAnswer(f"{answer!r}: one line of text, please")
    return json.dumps(answer, ensure_ascii=False)


@simple_filter
def template_folder(_: str) -> str:
    """Return where the template lies, for the hook: cruft says it nowhere."""
    return str(TEMPLATE)


def _mistake(service_name: str) -> str | None:
    if not re.fullmatch(NAME, service_name):
        return f"lower-case words joined by hyphens, please{_advice(service_name)}"
    if len(service_name) > LONGEST:
        return f"{len(service_name)} characters; at most {LONGEST}, please"
    if keyword.iskeyword(service_name):
        return "a keyword of Python"
    if service_name in OWN_FOLDERS:
        return "the generated project has a folder of this name"
    if _is_taken(service_name):
        return "a module or package of this name is in Python or among what the service installs"
    return None


def _is_taken(service_name: str) -> bool:
    listed = (TEMPLATE / "taken-names.txt").read_text(encoding="utf-8").splitlines()
    taken = {*listed, LIBRARY, *sys.stdlib_module_names}
    return not taken.isdisjoint({service_name, service_name.replace("-", "_")})


def _advice(service_name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s_.-]+", "-", service_name)
    corrected = words.strip("-").lower()
    usable = re.fullmatch(NAME, corrected) and not _mistake(corrected)
    return f": {corrected}" if usable else ", like order-book"
