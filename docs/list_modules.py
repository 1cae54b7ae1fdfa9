"""Writes the list of modules in architecture.md from the modules' docstrings.

    python docs/list_modules.py

Run it after adding or renaming a module, or changing its first sentence, and commit what it writes.
"""

from __future__ import annotations

import ast
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- modules: written by docs/list_modules.py -->\n", "<!-- end of modules -->"


def modules() -> list[Path]:
    """Every module of the core that was written by hand and says what it is for."""
    files = [path for path in ROOT.glob("frcnn_core/**/*.py") if not path.stem.endswith("_pb2")]
    return sorted((path for path in files if path.read_text()), key=lambda p: (p.parent, p.name))


def purpose(module: Path) -> str:
    """The first sentence of a module's docstring, as Markdown."""
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    first = " ".join(docstring.split("\n\n")[0].split("  ")[0].split())
    return first.replace("``", "`")


def listing() -> str:
    """A table for each folder."""
    lines = []
    for folder, members in groupby(modules(), key=lambda module: module.parent):
        lines += [f"**{folder.relative_to(ROOT)}**", "", "| Module | What it is for |", "|---|---|"]
        lines += [f"| `{module.name}` | {purpose(module)} |" for module in members]
        lines.append("")
    return "\n".join(lines)


def page(text: str) -> str:
    """architecture.md with the list as it should be."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + "\n" + listing() + "\n" + END + rest.split(END)[1]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
