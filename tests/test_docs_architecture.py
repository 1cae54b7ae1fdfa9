"""docs/architecture.md describes the code that is there."""

import re
import runpy
from pathlib import Path

import pytest
from test_architecture import LEVELS, modules

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
GENERATOR = runpy.run_path(str(ROOT / "docs" / "list_rooms.py"))
MODULES = [path for path in modules() if path.read_text()]


def test_the_table_of_rooms_is_current():
    assert GENERATOR["page"](PAGE, LEVELS) == PAGE, "run `python docs/list_rooms.py`"


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_in_a_sentence_what_it_is_for(module):
    assert GENERATOR["purpose"](module).endswith(".")


def test_every_room_has_a_row():
    rows = re.findall(r"^\| (\d+) \| `([\w.]+)/?` \| .+\. \|$", PAGE, re.MULTILINE)
    found = [(int(level), name.removesuffix(".py")) for level, name in rows]
    assert found == [(at, name) for at, names in enumerate(LEVELS) for name in names.split()]


def files_named() -> set[str]:
    """Files that the page names, but for what was once planned."""
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    kept = [one for one in sections if not one.startswith("Where we left")]
    return set(re.findall(r"`([\w/]+\.(?:py|txt|toml))`", " ".join(kept)))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(files_named()))
def test_a_file_it_names_is_there(name):
    folders = (ROOT, ROOT / "frcnn_core", ROOT / "tests")
    assert any((folder / name).exists() for folder in folders)
