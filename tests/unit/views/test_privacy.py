"""What begins with an underscore stays in its module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from sms_pipeline import views

PACKAGE = Path(views.__file__).parents[1]
FILES = [path for room in ("views", "cli") for path in sorted((PACKAGE / room).rglob("*.py"))]


#: Of named tuples: the underscore keeps them apart from fields.
NAMED_TUPLE = {"_fields", "_asdict", "_replace", "_make"}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLE


def taken_from_elsewhere(source: str) -> list[str]:
    """Private names that are imported, or taken from a module that is."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Import)]
    names = [alias.name for node in imports for alias in node.names]
    taken = [name for name in names if private(name)]
    return taken + [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and private(node.attr)
        and isinstance(node.value, ast.Name)
        and node.value.id in {name.rpartition(".")[2] for name in names}
    ]


def test_private_names_are_found() -> None:
    assert taken_from_elsewhere("from a import _b, __version__, c\nc._d\nself._e") == ["_b", "c._d"]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_private_name_of_another_module_is_used(path: Path) -> None:
    assert taken_from_elsewhere(path.read_text()) == []
