"""docs/api.md is the public surface, whole and true."""

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest
from test_architecture import CORE, faces

import frcnn_core

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
NOT_LISTED = {"assemble", "builtin", "cli", "sample_data", "scaffold", "spec", "survey"}
"""Rooms for the commands alone."""


def sections() -> dict[str, list[tuple[str, str, str]]]:
    """Package -> rows of (name, module, stability)."""
    parts = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    row = re.compile(r"^\| `(\w+)` \| `([\w.]+)` \| (\w+) \|$", re.MULTILINE)
    return {
        package: row.findall(text) for package, text in zip(parts[1::2], parts[2::2], strict=True)
    }


ROWS = [(package, *row) for package, rows in sections().items() for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize(
    "package, name, module, stability", ROWS, ids=[f"{row[0]}.{row[1]}" for row in ROWS]
)
def test_a_name_is_there_and_lies_where_it_says(package, name, module, stability):
    found = getattr(importlib.import_module(package), name)
    if isinstance(found, ModuleType):
        assert found.__name__ == module
    else:
        home = importlib.import_module(module)
        assert getattr(home, name) is found
        defined = getattr(found, "__module__", None) or module
        assert defined == module or not defined.startswith("frcnn_core")
    assert stability in ("stable", "provisional")


def test_no_row_is_malformed():
    assert len(ROWS) == len(re.findall(r"^\| `", PAGE, re.MULTILINE))


@pytest.mark.parametrize("room", sorted(faces().keys() - NOT_LISTED - {"testing"}))
def test_all_that_a_room_hands_on_is_listed(room):
    assert faces()[room].keys() == {name for name, _, _ in sections()[f"frcnn_core.{room}"]}


@pytest.mark.parametrize("package", ["frcnn_core", "frcnn_core.testing"])
def test_all_that_plugins_import_first_is_listed_as_stable(package):
    exported = importlib.import_module(package).__all__
    assert sections()[package] and {stability for *_, stability in sections()[package]} == {
        "stable"
    }
    assert set(exported) == {name for name, _, _ in sections()[package]}


def test_all_errors_and_structures_are_listed():
    for name in ("errors", "structures"):
        module = importlib.import_module(f"frcnn_core.{name}")
        defined = {
            key
            for key, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__ and not key.startswith("_")
        }
        assert defined <= {row[0] for row in sections()[f"frcnn_core.{name}"]}


def test_every_room_is_listed_or_is_for_the_commands():
    rooms = {path.parent.name for path in CORE.glob("*/__init__.py")}
    listed = {package.removeprefix("frcnn_core.") for package in sections()}
    assert rooms - listed == NOT_LISTED


def test_what_is_stable_of_the_components_is_what_plugins_import_first():
    stable = {name for name, _, how in sections()["frcnn_core.plugin"] if how == "stable"}
    assert set(frcnn_core.__all__) <= stable
