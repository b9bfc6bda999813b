"""What else deploys, tests and installs a service, as the tools see it that know these files."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.baking import TEMPLATE, Bake, Run, command

ACTIONLINT = TEMPLATE / ".build/bin/actionlint"
CHOICES = {"github": {".github"}, "gitlab": {".gitlab-ci.yml"}, "none": set()}
TESTED = ["make", "UV=", "lint", "types", "test", "breaking"]
SCHEMAS = {  # of check-jsonschema
    ".github/workflows/*.yml": "vendor.github-workflows",
    ".github/dependabot.yml": "vendor.dependabot",
    ".gitlab-ci.yml": "vendor.gitlab-ci",
}


def test_the_dockerfile_is_as_hadolint_wants_it(service: Path, finds_nothing: Run):
    assert finds_nothing("hadolint", "deploy/Dockerfile", cwd=service) == ""


def test_what_the_image_is_made_of_is_what_it_copies(service: Path):
    """The context is a list of what is let in; each of it has to be there."""
    lines = (service / "deploy/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    assert [line for line in lines if line[0] == "!" and not [*service.glob(line[1:])]] == []


def test_the_image_says_the_version_of_the_service(service: Path):
    project = tomllib.loads((service / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dockerfile = (service / "deploy/Dockerfile").read_text(encoding="utf-8")
    assert f"\nARG VERSION={project['version']}\n" in dockerfile


@pytest.mark.parametrize("ci", CHOICES)
def test_the_files_of_the_chosen_ci_are_there_and_those_of_no_other(bake: Bake, ci: str):
    service = bake(ci=ci)
    there = {name for names in CHOICES.values() for name in names if (service / name).exists()}
    assert there == CHOICES[ci]


@pytest.mark.parametrize("pattern", SCHEMAS)
def test_what_a_ci_reads_fits_its_schema(bake: Bake, finds_nothing: Run, pattern: str):
    service = bake(ci="gitlab" if "gitlab" in pattern else "github")
    files = [*service.glob(pattern)]
    assert files
    finds_nothing("check-jsonschema", "--builtin-schema", SCHEMAS[pattern], *files, cwd=service)


def test_the_workflows_are_as_zizmor_wants_them(bake: Bake, finds_nothing: Run):
    said = finds_nothing("zizmor", "--offline", "--no-config", ".github", cwd=bake())
    assert "No findings" in said, said


@pytest.mark.image
def test_the_workflows_are_as_actionlint_wants_them(bake: Bake):
    service = bake()
    done = command(ACTIONLINT, *service.glob(".github/workflows/*"), cwd=service)
    assert (done.returncode, done.stdout) == (0, "")


def test_each_change_is_checked_once_with_a_cache(service: Path):
    text = (service / ".github/workflows/test.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow[True] == {"pull_request": None, "push": {"branches": ["main"]}}  # `on`, in YAML
    (job,) = workflow["jobs"].values()
    assert "strategy" not in job
    checkout, python, check = job["steps"]
    assert checkout["with"]["fetch-depth"] == 0, "or `make breaking` sees no tag"
    assert python["with"]["cache-dependency-path"] == "requirements-dev.lock"
    assert check["run"].partition("#")[0].split() == TESTED


def test_both_kinds_of_ci_do_the_same(bake: Bake):
    github, gitlab = bake(), bake(service_name="tea-shop", ci="gitlab")
    jobs = yaml.safe_load((gitlab / ".gitlab-ci.yml").read_text(encoding="utf-8"))
    workflows = [yaml.safe_load(path.read_text()) for path in github.glob(".github/workflows/*")]
    steps = [s for w in workflows for job in w["jobs"].values() for s in job["steps"]]
    there = [line for s in steps for line in _lines(s.get("run", ""))]
    here = [line for job in jobs.values() if "script" in job for line in job["script"]]
    assert _said(here) == _said(there)
    assert {" ".join(TESTED), "make UV= upgrade lint types test"} <= _said(here)


def _lines(run: str) -> list[str]:
    return run.partition("#")[0].replace("\\\n", " ").splitlines()


def _said(lines: list[str]) -> set[str]:
    """Return what is done, whichever of two tools runs it and whatever variables are called."""
    told = (re.search(r"(make UV=.*|pip-audit.*|cruft==.*|--sbom.*=max)", line) for line in lines)
    return {" ".join(found[0].split()) for found in told if found}


@pytest.mark.image
def test_systemd_finds_nothing_wrong_with_the_unit(service: Path, tmp_path: Path):
    unit = _installed_unit(service, tmp_path)
    done = command("systemd-analyze", "verify", "--man=no", unit, cwd=tmp_path)
    mine = [line for line in done.stdout.splitlines() if unit.name in line]
    assert (done.returncode, mine) == (0, []), done.stdout


def _installed_unit(service: Path, folder: Path) -> Path:
    """Copy the unit; its command is a program that there is, as `verify` looks for it."""
    (unit,) = service.glob("deploy/systemd/*.service")
    text = re.sub(r"/opt/\S+/bin/\S+", "/bin/true", unit.read_text(encoding="utf-8"))
    (copy := folder / unit.name).write_text(text.replace("/opt/order-book", "/"))
    return copy


@pytest.mark.image
def test_the_unit_lets_the_service_do_little_but_serve(service: Path):
    (unit,) = service.glob("deploy/systemd/*.service")
    strictly = ("--offline=yes", "--no-pager", "--threshold=15")
    done = command("systemd-analyze", "security", *strictly, unit, cwd=service)
    assert done.returncode == 0, done.stdout


def test_a_service_without_deploy_is_whole(bake: Bake, run: Run):
    """A team that deploys in another way deletes the folder; its own tests skip what it held."""
    service = bake()
    shutil.rmtree(service / "deploy")
    said = run("make", "install", cwd=service)
    assert "Error" not in said
    python = service / ".venv/bin/python"
    assert "2 skipped" in run(python, "-m", "pytest", "tests/test_deploy.py", cwd=service)
