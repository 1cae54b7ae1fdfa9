"""Messages about files, taken apart into where and what."""

from __future__ import annotations

import re

_PLACE = re.compile(r"(.+?(?::\d+)+|.+?: (?:annotation|image|record) [^:]+|[^:]+): ")
"""A file with line and maybe column, or with an entry in it, or just a file; then a colon."""


def place_and_reason(line: str, place: str = "") -> tuple[str, str]:
    """The two parts of a line such as ``labels/a.txt:3: 2 fields, but ...``.

    Args:
        place: of a line that names none.
    """
    match = _PLACE.match(line)
    return (match[1], line[match.end() :]) if match else (place, line)
