"""YOLO's text from objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, localcontext
from pathlib import Path

from frcnn_core.data import LabelledImage, Object, label_files
from frcnn_core.errors import DataError
from frcnn_yolo_labels.reading import EXACTLY, ROUNDING

_FEW, _MOST = 6, 40
"""Digits after the point: as many as files usually have, and those that are enough for any edge
that is 0 or not closer to it than a millionth of a millionth of a pixel."""


def write(
    images: Iterable[LabelledImage], output: Path, classes: Mapping[int, str] | None = None
) -> list[Path]:
    """A file for each image below ``output``, and ``classes.txt``.

    Args:
        classes: names by number, from 0 on; None numbers the names there are, in alphabetical
            order.

    Raises:
        DataError: a crowd, a class without a number, or a box that is no fraction of its image.
    """
    images = list(images)
    label_files.refuse_crowds(images, "YOLO labels")
    there = sorted({item.class_name for image in images for item in image.objects})
    names = list(there) if classes is None else _in_order(classes)
    if unknown := [name for name in there if name not in names]:
        raise DataError(f"classes: lacks {', '.join(map(repr, unknown))}, which the labels have.")
    texts, problems = {}, []
    for image in images:
        try:
            texts[image.file] = _text(image, names)
        except DataError as error:
            problems += [f"{image.file}: {line}" for line in str(error).splitlines()]
    if problems:
        raise DataError("\n".join(problems))
    listing = "".join(f"{name}\n" for name in names)
    return label_files.write(
        images, output, ".txt", lambda image: texts[image.file], others={"classes.txt": listing}
    )


def _in_order(classes: Mapping[int, str]) -> list[str]:
    if sorted(classes) != list(range(len(classes))):
        raise DataError("classes: must have a name for every number from 0 on.")
    return [classes[number] for number in range(len(classes))]


def _text(image: LabelledImage, names: list[str]) -> str:
    """A line an object.

    Raises:
        DataError: a line for each box that cannot be written.
    """
    height, width = image.size
    lines, problems = [], []
    with localcontext(EXACTLY):
        for item in image.objects:
            x, box_width = _centre_and_extent(item.x1, item.x2, width)
            y, box_height = _centre_and_extent(item.y1, item.y2, height)
            numbers = (x, y, box_width, box_height)
            if not all(-ROUNDING <= Decimal(number) <= 1 + ROUNDING for number in numbers):
                problems.append(_refusal(item, image.size))
                continue
            score = [] if item.score is None else [label_files.number(item.score)]
            lines.append(" ".join([str(names.index(item.class_name)), *numbers, *score]) + "\n")
    if problems:
        raise DataError("\n".join(problems))
    return "".join(lines)


def _refusal(item: Object, size: tuple[int, int]) -> str:
    box = ", ".join(label_files.number(value) for value in (item.x1, item.y1, item.x2, item.y2))
    return (
        f"{item.class_name} at ({box}): turned inside out, larger than the image of"
        f" {size[1]} x {size[0]} pixels, or with its centre outside; YOLO labels cannot hold it."
    )


def _centre_and_extent(start: float, end: float, side: int) -> tuple[str, str]:
    """Middle and length of an interval in pixels as fractions of ``side``.

    With the fewest digits that give back both ends to the last bit.
    """
    for digits in range(_FEW, _MOST + 1):
        step = Decimal(1).scaleb(-digits)
        # Edges are rounded, not middles: those of the image stay 0 and 1.
        first, last = ((Decimal(float(edge)) / side).quantize(step) for edge in (start, end))
        if float(first * side) == start and float(last * side) == end:
            break
    return f"{(first + last) / 2:f}", f"{last - first:f}"
