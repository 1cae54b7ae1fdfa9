"""Writes the table of rooms in architecture.md from the rooms' docstrings and the tested levels.

    python docs/list_rooms.py

Run it after adding a room or changing its first sentence, and commit what it writes.
"""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: written by docs/list_rooms.py -->\n", "<!-- end of rooms -->"


def purpose(module: Path) -> str:
    """The first sentence of a module's docstring, as Markdown."""
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    first = " ".join(docstring.split("\n\n")[0].split("  ")[0].split())
    return first.replace("``", "`")


def source(name: str) -> Path:
    """Where a room, or a module beside the rooms, says what it is for."""
    if name == "__init__":
        return ROOT / "frcnn_core" / "__init__.py"
    folder = ROOT / "frcnn_core" / name
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def listing(levels: tuple[str, ...]) -> str:
    """A row for each room."""
    lines = ["| Level | Room | What it is for |", "|---:|---|---|"]
    for level, names in enumerate(levels):
        for name in names.split():
            shown = source(name).relative_to(ROOT / "frcnn_core")
            room = f"{shown.parent}/" if name != "__init__" and shown.stem == "__init__" else shown
            lines.append(f"| {level} | `{room}` | {purpose(source(name))} |")
    return "\n".join(lines)


def page(text: str, levels: tuple[str, ...]) -> str:
    """architecture.md with the table as it should be."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + listing(levels) + "\n\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    tested = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))
    PAGE.write_text(page(PAGE.read_text(), tested["LEVELS"]))
