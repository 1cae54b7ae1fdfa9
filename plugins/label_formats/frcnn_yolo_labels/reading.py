"""Objects from YOLO's text: fractions of an image as pixels.

Sources: the label files of Darknet (Redmon et al.) and the data sets of Ultralytics, whose
segments and oriented boxes have more than one pair of numbers after the class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Context, Decimal, InvalidOperation, localcontext
from pathlib import Path

from frcnn_core.data import Labels, Object
from frcnn_core.data.label_files import LabelFiles, decode
from frcnn_core.errors import DataError

OTHERS = ("classes.txt",)
"""Text files among the labels that are none."""

EXACTLY = Context(prec=100, traps=[InvalidOperation])
"""Fractions of pixels have few digits only by chance: decimals keep those that the file has, and a
box comes back to the last bit where it was written with enough of them."""

ROUNDING = Decimal("0.001")
"""What fractions may be outside of 0 to 1."""


class YoloFiles(LabelFiles):
    """A folder of text files, at any depth; one that is missing is of an image without objects.

    Args:
        classes: names by number.
    """

    suffix = ".txt"

    def __init__(self, folder: Path, classes: Mapping[int, str]):
        super().__init__(folder, others=OTHERS)
        self._classes = classes

    def parse(self, data: bytes, place: str, size: tuple[int, int] | None) -> Labels:
        if size is None:
            raise DataError(f"{place}: the size of the image is needed to know where boxes are.")
        objects, places, problems = [], [], []
        with localcontext(EXACTLY):
            for number, line in enumerate(decode(data, place).splitlines(), start=1):
                if not line.strip():
                    continue
                where = f"{place}:{number}"
                try:
                    objects.append(self._object(line.split(), size))
                    places.append(where)
                except DataError as error:
                    problems.append(f"{where}: {error}")
        if problems:
            raise DataError("\n".join(problems))
        return Labels(tuple(objects), tuple(places))

    def missing(self, place: str) -> Labels:
        return Labels()

    def _object(self, fields: list[str], size: tuple[int, int]) -> Object:
        if not _is_length(len(fields)):
            raise DataError(
                f"{len(fields)} fields, but a YOLO label has 5 (class x y width height), 6 with a"
                " score, or a class and three or more points."
            )
        name = self._class(fields[0])
        numbers = [_fraction(text) for text in fields[1:]]
        if len(numbers) > 5:
            xs, ys = numbers[::2], numbers[1::2]
            left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
        else:
            left, top, right, bottom = corners(*numbers[:4])
        height, width = size
        return Object(
            name,
            x1=float(left * width),
            y1=float(top * height),
            x2=float(right * width),
            y2=float(bottom * height),
            score=float(numbers[4]) if len(numbers) == 5 else None,
        )

    def _class(self, text: str) -> str:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not number.is_integer():
            raise DataError(f"class is {text!r}, but must be a whole number.")
        if int(number) not in self._classes:
            raise DataError(
                f"class {int(number)} has no name; those that have are {_numbers(self._classes)}."
            )
        return self._classes[int(number)]


def corners(
    x: Decimal, y: Decimal, width: Decimal, height: Decimal
) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Left, top, right, bottom of a box whose centre is (x, y)."""
    half_width, half_height = width / 2, height / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def looks_like(text: str) -> bool:
    """Whether text may be YOLO labels, told from its first line that is not blank."""
    fields = next(iter(text.strip().splitlines()), "").split()
    try:
        first, *numbers = map(float, fields)
    except ValueError:
        return False
    return (
        _is_length(len(fields))
        and first >= 0
        and first.is_integer()
        and all(-ROUNDING <= number <= 1 + ROUNDING for number in numbers)
    )


def _is_length(length: int) -> bool:
    return length in (5, 6) or (length >= 7 and length % 2 == 1)


def _fraction(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or not -ROUNDING <= value <= 1 + ROUNDING:
        raise DataError(f"{text} is no fraction of the image, from 0 to 1.")
    return value


def _numbers(classes: Mapping[int, str]) -> str:
    if len(classes) > 1 and sorted(classes) == list(range(len(classes))):
        return f"0 to {len(classes) - 1}"
    return ", ".join(map(str, sorted(classes))) or "none"
