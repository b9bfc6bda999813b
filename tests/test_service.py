"""What a team does with a baked service: every target of its Makefile, for real."""

import os
import re
import shutil
import signal
import subprocess
import zipfile
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import pytest

from tests.baking import command, entry_of
from twinport.testing import FREE, Running

GENERATED_S = 240.0  # for what a first start makes, of which a busy machine makes a minute
TEMPLATE = Path(__file__).parents[1]
ANYWHERE = {  # free ports, and lines that a test can read
    f"ORDER_BOOK__{name.upper().replace('.', '__')}": str(value) for name, value in FREE.items()
}


def making(target: str, service: Path, environment: dict[str, str]) -> Running:
    """Return a `make` that goes on until it is told to stop."""
    return Running(["make", target], service, environment | ANYWHERE)


def cpu_s(service: Running) -> float:
    """Return what it takes from its start, ready and stopped, in seconds of a processor."""
    began = getrusage(RUSAGE_CHILDREN)
    with service:
        service.ports()
    ended = getrusage(RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime


def test_help_names_every_target(bake, run):
    service = bake()
    phony = re.search(r"^\.PHONY: (.*)", (service / "Makefile").read_text(), re.MULTILINE)
    described = re.findall(r"^make ([a-z-]+) +\S", run("make", cwd=service), re.MULTILINE)
    assert described == phony[1].removesuffix(" moved").split()


def test_what_is_installed_is_compiled_before_somebody_waits_for_it(bake):
    service = bake()
    lock = service / "requirements-dev.lock"
    lock.write_text(entry_of("pytest-xdist", lock.read_text()))  # one of many takes less time
    command("make", ".venv/.locked", cwd=service)
    assert list(service.glob(".venv/lib/*/site-packages/xdist/__pycache__/*.pyc"))


def test_the_second_run_costs_little_more_than_the_program_alone(installed, environment):
    with making("run", installed, environment) as first:
        first.logged("ready", seconds=GENERATED_S)
    second = making("run", installed, environment)
    alone = Running([".venv/bin/order-book", "run"], installed, environment | ANYWHERE)
    assert cpu_s(second) < 2 * cpu_s(alone)
    assert [line for line in second.output if "installing" in line or "protoc" in line] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_stops_in_order(installed, environment, number):
    with making("run", installed, environment) as service:
        service.ports()
        service.signal(number)
        service.exit_status()
    assert service.lines[-1]["message"] == "stopped"
    assert [line for line in service.output if "Error" in line] == []


def edit(path: Path, addition: str = "\n") -> None:
    path.write_text(path.read_text() + addition)


def add_message(service: Path) -> None:
    (proto,) = service.glob("proto/**/*.proto")
    edit(proto, "\nmessage Parcel {}\n")


def add_feature(service: Path) -> None:
    feature = service / "proto/order_book/things/v1"
    feature.mkdir(parents=True)
    text = 'syntax = "proto3";\npackage order_book.things.v1;\nmessage Thing {}\n'
    (feature / "things.proto").write_text(text)


def test_dev_starts_once_after_each_change_and_generates_first(bake, environment, run):
    service = bake()
    run("make", "install", cwd=service)
    with making("dev", service, environment) as dev:
        dev.ports()
        for times, name in enumerate(("src/order_book/app.py", "config/default.toml"), start=2):
            edit(service / name)
            dev.logged("ready", times, GENERATED_S)
        add_message(service)
        dev.logged("ready", 4, GENERATED_S)
        assert "class Parcel" in next(service.glob("src/**/*_pb2.pyi")).read_text()
        add_feature(service)
        dev.logged("ready", 5, GENERATED_S)
        assert list(service.glob("src/order_book/things/v1/things_pb2.py"))
        (service / "src/order_book/app.py").touch()
        dev.logged("ready", 6, GENERATED_S)
        dev.signal(signal.SIGINT)
        dev.exit_status()
    ready = [line for line in dev.lines if line["message"].startswith("ready")]
    assert len(ready) == 6, "each change starts it once"
    assert [line for line in dev.output if "Traceback" in line] == []


def test_a_message_that_is_gone_from_proto_is_gone_from_the_sources(bake, run):
    service = bake()
    run("make", "proto", cwd=service)
    (proto,) = service.glob("proto/**/*.proto")
    moved = proto.rename(proto.with_name("purchases.proto"))
    while moved.parent.stat().st_mtime <= (service / ".venv/.generated").stat().st_mtime:
        os.utime(moved.parent)  # until the clock of the file system has moved on
    run("make", "proto", cwd=service)
    generated = {path.name.split("_pb2")[0] for path in service.glob("src/**/*_pb2*")}
    assert generated == {moved.stem}


def test_the_generated_code_of_two_services_loads_in_one_process(bake, run):
    services = [bake(service_name=name) for name in ("order-book", "tea-shop")]
    for service in services:
        run("make", "proto", cwd=service)
    paths = os.pathsep.join(str(service / "src") for service in services)
    packages = ("order_book.orders.v1", "tea_shop.orders.v1")
    both = "; ".join(f"from {name} import orders_pb2, orders_pb2_grpc" for name in packages)
    run(services[0] / ".venv/bin/python", "-c", both, cwd=services[0], PYTHONPATH=paths)


def test_a_wheel_holds_the_generated_code_with_its_types(installed, run):
    run("make", "wheels", cwd=installed)
    (wheel,) = installed.glob("dist/order_book-*.whl")
    held = {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    assert {"orders_pb2.py", "orders_pb2.pyi", "orders_pb2_grpc.py", "orders_pb2_grpc.pyi"} <= held


def test_a_service_that_was_moved_is_installed_anew(bake, run):
    service = bake()
    run("make", "proto", cwd=service)
    moved = shutil.move(service, service.with_name("elsewhere"))
    run("make", "proto", cwd=moved)
    found = run(
        moved / ".venv/bin/python", "-c", "import order_book as o; print(o.__file__)", cwd="/"
    )
    assert found.startswith(f"{moved}/src/")


def test_a_machine_without_a_fitting_python_reads_one_line(bake, environment):
    command = ("make", "install", "PYTHON=python2.7 no-such-python")
    failed = subprocess.run(
        command, cwd=bake(), env=environment, capture_output=True, text=True, check=False
    )
    first, *rest = failed.stderr.splitlines()
    assert first.startswith("No Python 3.11 or newer that has venv")
    assert [line for line in rest if not line.startswith("make: ***")] == []


def test_clean_leaves_what_was_baked(bake, run):
    service = bake()
    before = sorted(service.rglob("*"))
    run("make", "install", "lint", cwd=service)
    quickly = ("--config-file=", "-c", "pass")
    run(".venv/bin/mypy", *quickly, cwd=service, MYPY_CACHE_DIR=".mypy_cache")
    assert {".mypy_cache", ".ruff_cache"} <= {path.name for path in service.iterdir()}
    run("make", "clean", cwd=service)
    assert [path for path in sorted(service.rglob("*")) if path.is_file()] == [
        path for path in before if path.is_file()
    ]
