"""Which shapes of its inputs an engine is built for: an optimisation profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from frcnn_core.errors import FrcnnError

Shape = tuple[int, ...]


class Range(NamedTuple):
    """Shapes of an input: the smallest, the one that is optimised for, the largest."""

    smallest: Shape
    optimal: Shape
    largest: Shape


def of_batches(
    inputs: Mapping[str, Shape], *, least: int, optimal: int, most: int
) -> dict[str, Range]:
    """The ranges of inputs that only the number of images varies in.

    Args:
        inputs: shapes by name, -1 for what varies.  An input without it needs no range.

    Raises:
        FrcnnError: something else varies.
    """
    ranges = {}
    for name, shape in inputs.items():
        if -1 in shape[1:]:
            text = "x".join(map(str, shape))
            raise FrcnnError(
                f"{name} is {text}, where -1 is any number: say which shapes to build for, e.g. "
                f"-p {name},1x3x384x1248,1x3x384x1248,8x3x384x1248 (smallest, optimal, largest)."
            )
        if shape[0] == -1:
            ranges[name] = Range(*((number, *shape[1:]) for number in (least, optimal, most)))
    return ranges


def parse(text: str) -> tuple[str, Range]:
    """Name and range from ``name,1x3x384x1248,4x3x384x1248,16x3x384x1248``.

    Raises:
        ValueError: it is none; the message says what to type.
    """
    name, *shapes = (word.strip() for word in text.split(","))
    try:
        smallest, optimal, largest = (tuple(map(int, shape.split("x"))) for shape in shapes)
    except ValueError:
        raise ValueError(
            f"expected NAME,MIN,OPT,MAX with shapes like 1x3x384x1248, got {text!r}."
        ) from None
    if not len(smallest) == len(optimal) == len(largest):
        raise ValueError(f"{text!r} has shapes of different lengths.")
    if not all(1 <= a <= b <= c for a, b, c in zip(smallest, optimal, largest, strict=True)):
        raise ValueError(f"{text!r} does not go from smallest to largest, or not from 1.")
    return name, Range(smallest, optimal, largest)


def check(ranges: Mapping[str, Range], inputs: Mapping[str, Shape]) -> None:
    """Raises FrcnnError: a range is of no input, or of shapes that it cannot have."""
    for name, found in ranges.items():
        if name not in inputs:
            raise FrcnnError(f"-p {name}: the model's inputs are {', '.join(inputs)}.")
        shape = inputs[name]
        fits = len(shape) == len(found.smallest) and all(
            size in (-1, one) for given in found for size, one in zip(shape, given, strict=True)
        )
        if not fits:
            text = "x".join(map(str, shape))
            raise FrcnnError(f"-p {name}: the model's {name} is {text}, where -1 is any number.")
