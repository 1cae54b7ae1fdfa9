"""Which of the installed formats some labels are in, told by looking at them."""

from __future__ import annotations

from pathlib import Path

from frcnn_core.errors import DataError
from frcnn_core.plugin.components import LabelFormat
from frcnn_core.plugin.registry import Registry


def recognise(labels: Path, formats: Registry[LabelFormat]) -> LabelFormat:
    """The one format that ``labels`` looks like.

    Args:
        labels: folder of label files, or one file for all images.

    Raises:
        DataError: there is nothing, or it looks like none of the formats, or like several.
    """
    if not labels.exists():
        raise DataError(f"{labels}: there is no such folder or file.")
    usable = {entry.component.name: entry.component for entry in formats if not entry.missing}
    found = [component for component in usable.values() if component.recognises(labels)]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(component.name for component in found)
        raise DataError(f"{labels}: may be {names}; say which format these labels have.")
    lines = [
        f"{labels}: labels of no known format. Name the format, if it is one of these:",
        *(f"{name}: {component.summary}" for name, component in usable.items()),
    ]
    raise DataError("\n  ".join(lines))
