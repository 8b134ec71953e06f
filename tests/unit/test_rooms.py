"""The package's rooms: who may import whom."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sms_pipeline

PACKAGE = Path(sms_pipeline.__file__).parent
NAME = "sms_pipeline"
#: What may be imported from where, besides the room itself. A file at the top is a room of its own.
MAY_IMPORT = {
    "core": set[str](),
    "config": {"core"},
    "broker": {"config", "core"},
    "ledger": {"config", "core"},
    "producer": {"broker", "config", "core", "ledger"},
    "worker": {"broker", "config", "core", "ledger"},
    "forecast": {"core", "producer", "worker"},
    "views": {"broker", "config", "core", "forecast", "ledger"},
    "testing": {"broker", "celery", "config", "core", "ledger", "producer", "worker"},
    "celeryconfig": {"broker", "config"},
    "celery": {"broker", "config", "core", "ledger", "producer", "worker"},
    "cli": {
        "broker",
        "celery",
        "config",
        "core",
        "forecast",
        "ledger",
        "producer",
        "views",
        "worker",
    },
}
#: Reckons with days and time zones.
CALENDAR = "hours.py"
#: What a pure room must not touch.
IMPURE = {
    "asyncio",
    "celery",
    "click",
    "datetime",
    "kombu",
    "os",
    "pathlib",
    "secrets",
    "socket",
    "sqlalchemy",
    "sqlite3",
    "subprocess",
    "sys",
    "threading",
    "time",
    "uuid",
}
#: `ls sms_pipeline` fits on a few lines: a room for each place that a message passes, and one for
#: what is known before it does.
MOST_ENTRIES = 12
LONGEST_FILE = 400

FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join((NAME, *parts)).removesuffix(".__init__")


MODULES = {module_of(file): file for file in FILES}


def imported(file: Path, *, later: bool = True) -> Iterator[str]:
    """Modules that a file imports; with `later`, also those inside functions and for types only."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree) if later else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (
                name if (name := f"{node.module}.{alias.name}") in MODULES else node.module
                for alias in node.names
            )


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def of_ours(file: Path) -> set[str]:
    return {name for name in imported(file) if name.split(".")[0] == NAME}


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_go_one_way(file: Path) -> None:
    own = room_of(module_of(file))
    if not own:
        return
    rooms = {room_of(module) for module in of_ours(file)} - {own, ""}
    assert rooms <= MAY_IMPORT[own]


def test_every_room_has_its_rule() -> None:
    assert {room_of(module) for module in MODULES} - {""} == set(MAY_IMPORT)


def test_nothing_imports_the_command_line() -> None:
    assert not [
        module
        for module, file in MODULES.items()
        if room_of(module) != "cli" and "cli" in {room_of(name) for name in of_ours(file)}
    ]


def test_there_is_no_cycle() -> None:
    graph = {module: of_ours(file) & MODULES.keys() for module, file in MODULES.items()}
    graph = {module: names - {module, NAME} for module, names in graph.items()}
    # Raises CycleError, which names the modules.
    assert set(TopologicalSorter(graph).static_order()) >= graph.keys()


@pytest.mark.parametrize("file", sorted((PACKAGE / "core").glob("*.py")), ids=module_of)
def test_core_is_pure(file: Path) -> None:
    allowed = {"datetime"} if file.name == CALENDAR else set()
    assert {name.split(".")[0] for name in imported(file)} & IMPURE == allowed


def test_who_reckons_with_days_reads_no_clock() -> None:
    text = (PACKAGE / "core" / CALENDAR).read_text()
    assert not re.search(r"\b(now|utcnow|today)\(", text)


def test_only_one_module_reads_the_clock() -> None:
    readers = {module for module, file in MODULES.items() if "time" in set(imported(file))}
    # The time that a CPU worked is none that anybody goes by.
    assert readers == {f"{NAME}.config.clock", f"{NAME}.config.cpu"}


def test_a_room_is_more_than_one_file_and_not_a_drawer() -> None:
    for folder in (path for path in PACKAGE.iterdir() if (path / "__init__.py").exists()):
        assert len(list(folder.glob("*.py"))) > 2, folder.name
        assert folder.name not in ("utils", "common", "helpers", "misc")


def test_the_package_can_be_taken_in_at_a_glance() -> None:
    entries = {path.name for path in PACKAGE.iterdir()} - {"__init__.py", "py.typed", "__pycache__"}
    assert len(entries) <= MOST_ENTRIES, entries


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_a_file_is_a_few_pages_at_most(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= LONGEST_FILE


def test_every_public_name_is_there() -> None:
    assert [name for name in sms_pipeline.__all__ if not hasattr(sms_pipeline, name)] == []
    assert sorted(sms_pipeline.__all__) == list(sms_pipeline.__all__)
