"""Tells OpenVINO's representations from other XML files."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = re.compile(rb"\s*(<\?xml[^>]*\?>\s*)?(<!--.*?-->\s*)*<net\s[^>]*\bversion=\"1[01]\"", re.S)


def is_representation(path: Path) -> bool:
    """Whether a file begins with the element ``net`` of OpenVINO's formats 10 and 11."""
    try:
        with open(path, "rb") as file:
            return bool(_ROOT.match(file.read(4096)))
    except OSError:
        return False
