"""docs/architecture.md describes the code that is there."""

import re
import runpy
from pathlib import Path

import pytest
from test_architecture import LEVELS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
GENERATOR = runpy.run_path(str(ROOT / "docs" / "list_modules.py"))
MODULES = GENERATOR["modules"]()


def test_the_list_of_modules_is_current():
    assert GENERATOR["page"](PAGE) == PAGE, "run `python docs/list_modules.py`"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_in_a_sentence_what_it_is_for(module):
    purpose = GENERATOR["purpose"](module)
    assert purpose.endswith(".")
    assert f"| `{module.name}` | {purpose} |" in PAGE


def test_the_levels_are_those_that_the_tests_hold():
    table = PAGE.split("<!-- levels -->\n")[1].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert [int(number) for number, _, _ in rows] == list(range(len(LEVELS)))
    for (_, _, names), level in zip(rows, LEVELS, strict=True):
        assert set(re.findall(r"`(\w+)`", names)) == set(level.split())


def files_named() -> set[str]:
    """Files that the page names, but for the list of modules and what was once planned."""
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    kept = [one for one in sections if not one.startswith(("Modules", "Where we left"))]
    return set(re.findall(r"`([\w/]+\.(?:py|txt|toml))`", " ".join(kept)))


@pytest.mark.parametrize("name", sorted(files_named()))
def test_a_file_it_names_is_there(name):
    folders = (ROOT, ROOT / "frcnn_core", ROOT / "tests")
    assert any((folder / name).exists() for folder in folders)
