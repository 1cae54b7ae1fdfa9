"""The names of YOLO's class numbers, and the files that have them."""

from __future__ import annotations

import re
from pathlib import Path

from frcnn_core.data import class_name
from frcnn_core.data.label_files import decode, read_bytes
from frcnn_core.errors import DataError

FILES = ("classes.txt", "obj.names", "data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_LEVELS = 3
"""Folders that are searched: that of the labels and two above, as in ``set/labels/train``."""


def given(classes: str) -> dict[int, str]:
    """Number -> name, from what a user typed.

    Args:
        classes: names separated by commas, or the path of a file.

    Raises:
        DataError: the file cannot be read, or a name is empty.
    """
    path = Path(classes)
    if path.suffix.lower() in (".txt", ".names", ".yaml", ".yml"):
        return read(path)
    names = [class_name(name) for name in classes.split(",")]
    if not all(names):
        raise DataError(f"classes: {classes!r} has an empty name.")
    return dict(enumerate(names))


def beside(labels: Path) -> dict[int, str]:
    """Number -> name, from the file nearest to the labels.

    Raises:
        DataError: there is none, or two in one folder disagree.
    """
    folder = labels.absolute()
    for parent in [folder, *folder.parents][:_LEVELS]:
        found = {path: read(path) for name in FILES if (path := parent / name).is_file()}
        if found:
            (first, names), *others = found.items()
            for other, theirs in others:
                if theirs != names:
                    raise DataError(
                        f"{first} and {other.name} beside it name different classes; remove one of"
                        " them, or set the option classes."
                    )
            return names
    raise DataError(
        f"{labels}: nothing names the classes. Put a classes.txt there, a name a line, or set the"
        " option classes."
    )


def read(path: Path) -> dict[int, str]:
    """Number -> name, from a file of names, one a line, or from the ``names:`` of a YAML file.

    Raises:
        DataError: it cannot be read, or a name is empty.
    """
    text = decode(read_bytes(path), str(path))
    if path.suffix.lower() in (".yaml", ".yml"):
        return yaml_names(text, str(path))
    names = [class_name(line) for line in text.rstrip().splitlines()]
    for line, name in enumerate(names, start=1):
        if not name:
            raise DataError(f"{path}:{line}: is empty, which would shift the names after it.")
    return dict(enumerate(names))


def yaml_names(text: str, place: str) -> dict[int, str]:
    """Number -> name, from the key ``names`` of a YAML file.

    Reads the forms in use, so that no YAML library is needed: ``[a, b]`` or ``{0: a, 1: b}``, on
    one line or several, and the same as a block of lines, ``- a`` or ``0: a``.

    Raises:
        DataError: there is no such key, or it has another form.
    """
    lines = [_without_comment(line) for line in text.splitlines()]
    start = next((i for i, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if start is None:
        raise DataError(f"{place}: has no names: at the beginning of a line.")
    value = lines[start].partition(":")[2].strip()
    block = []
    for line in lines[start + 1 :]:
        # A list may stand as far left as its key.
        if line.strip() and not line[0].isspace() and not re.match(r"-\s|[\]}]", line):
            break
        block.append(line.strip())
    if value[:1] in ("[", "{"):
        entries = _flow(" ".join([value, *block]))
    elif value:
        entries = None
    else:
        entries = [line for line in block if line]
    names = None if entries is None else _numbered(entries, value[:1])
    if not names:
        raise DataError(
            f"{place}:{start + 1}: names: must be a list, [a, b], or numbers with names,"
            " {0: a, 1: b}. Otherwise put a classes.txt beside it, a name a line."
        )
    return names


def _without_comment(line: str) -> str:
    """A line up to a ``#`` that begins it or follows a blank, and is in no quotes."""
    match = re.match(r"""(?:'[^']*'|"[^"]*"|(?<!\s)#|[^#'"]|['"])*""", line)
    return match[0].rstrip() if match and not line.lstrip().startswith("#") else ""


def _flow(text: str) -> list[str] | None:
    """The entries between the brackets that ``text`` begins with."""
    close = {"[": "]", "{": "}"}[text[0]]
    entries, entry, quote = [], "", ""
    for letter in text[1:]:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and not entry.rpartition(":")[2].strip():
            quote = letter
        elif letter in (",", close):
            entries.append(entry.strip())
            entry = ""
            if letter == close:
                return entries if entries[-1] else entries[:-1]  # a comma may be the last
            continue
        entry += letter
    return None


def _numbered(entries: list[str], bracket: str) -> dict[int, str] | None:
    """Entries as numbers and names; None where one of them is neither in order nor numbered."""
    names: dict[int, str] = {}
    for index, entry in enumerate(entries):
        if bracket == "[":
            key, name = index, entry
        elif not bracket and entry.startswith("- "):
            key, name = index, entry[2:]
        elif match := re.match(r"""(['"]?)(\d+)\1\s*:\s+(.*)""", entry):
            key, name = int(match[2]), match[3]
        else:
            return None
        name = class_name(_unquoted(name.strip()))
        if not name or key in names:
            return None
        names[key] = name
    return names


def _unquoted(name: str) -> str:
    if len(name) > 1 and name[0] == name[-1] == "'":
        return name[1:-1].replace("''", "'")
    if len(name) > 1 and name[0] == name[-1] == '"':
        return name[1:-1]
    return name
