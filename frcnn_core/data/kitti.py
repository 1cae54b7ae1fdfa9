"""KITTI label text: one object a line, 15 fields, and a score as a 16th where it is a detection.

The format's fields, in order: type, truncated, occluded, alpha, left, top, right, bottom,
height, width, length, x, y, z, rotation_y (, score).

Source: Geiger et al. 2012, "Are we ready for autonomous driving? The KITTI vision benchmark
suite", readme of the object development kit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from frcnn_core.data.labels import Labels, Object
from frcnn_core.errors import DataError

_FIELDS = (
    "type truncated occluded alpha left top right bottom height width length x y z rotation_y score"
).split()


def labels(text: str, name: str) -> Labels:
    """What a label file's text says; blank lines are passed over, so empty text is no object.

    Args:
        name: of the file, for ``Labels.places`` and messages.

    Raises:
        DataError: a line for each line that is wrong, each starting with ``name:line``.
    """
    objects, places, problems = [], [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        try:
            objects.append(_parse_line(line))
            places.append(place)
        except DataError as error:
            problems.append(f"{place}: {error}")
    if problems:
        raise DataError("\n".join(problems))
    return Labels(tuple(objects), tuple(places))


def parse(text: str, name: str) -> list[Object]:
    """The objects of a label file's text; arguments and errors as ``labels``."""
    return list(labels(text, name).objects)


def looks_like(text: str) -> bool:
    """Whether text may be KITTI labels, told from its first line that is not blank."""
    fields = next(iter(text.strip().splitlines()), "").split()
    try:
        numbers = [float(field) for field in fields[1:]]
    except ValueError:
        return False
    # Fifteen fractions after a whole number are a polygon of YOLO's.
    return len(fields) in (15, 16) and any(abs(value) > 1 for value in numbers)


def read(path: Path) -> list[Object]:
    """The objects of one label file.

    Raises:
        DataError: the file is missing or not text, or lines of it are wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: there is no such label file; make an empty one if the image has no objects."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file; KITTI labels are UTF-8 text.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    return parse(text, str(path))


def format_line(item: Object, *, exact: bool = False) -> str:
    """The line of one object, without line end; 16 fields if it has a score, else 15.

    Args:
        exact: numbers that need more digits than KITTI's own files have get them.
    """

    def text(value: float, digits: int) -> str:
        rounded = f"{value:.{digits}f}"
        return repr(float(value)) if exact and float(rounded) != value else rounded

    numbers = [
        text(item.truncation, 2),
        str(item.occlusion),
        text(item.observation_angle, 2),
        *(text(value, 3) for value in (item.x1, item.y1, item.x2, item.y2)),
        *(text(value, 2) for value in (item.height, item.width, item.length)),
        *(text(value, 2) for value in (item.x, item.y, item.z, item.rotation_y)),
    ]
    if item.score is not None:
        numbers.append(text(item.score, 6))
    # A blank in a class name would shift every field behind it.
    return " ".join(["_".join(item.class_name.split()), *numbers])


def format_text(objects: Iterable[Object], *, exact: bool = False) -> str:
    """A label file's text."""
    return "".join(format_line(item, exact=exact) + "\n" for item in objects)


def _parse_line(line: str) -> Object:
    fields = line.split()
    if len(fields) not in (15, 16):
        raise DataError(
            f"{len(fields)} fields, but a KITTI label has 15 (or 16 with a score):"
            f" {' '.join(_FIELDS[:15])}. Unknown ones are written as 0."
        )
    values = [_number(text, field) for text, field in zip(fields[1:], _FIELDS[1:], strict=False)]
    truncation, occlusion, angle, x1, y1, x2, y2, height, width, length, x, y, z, rotation = values[
        :14
    ]
    if occlusion != int(occlusion):
        raise DataError(f"occluded is {fields[2]!r}, but must be a whole number: 0, 1, 2 or 3.")
    return Object(
        class_name=fields[0].lower(),
        x1=x1,
        y1=y1,
        x2=x2,
        y2=y2,
        truncation=truncation,
        occlusion=int(occlusion),
        observation_angle=angle,
        height=height,
        width=width,
        length=length,
        x=x,
        y=y,
        z=z,
        rotation_y=rotation,
        score=values[14] if len(values) == 15 else None,
    )


def _number(text: str, field: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{field} is {text!r}, but must be a number.")
    return value
