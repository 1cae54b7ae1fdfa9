"""Numbers that describe a table of objects."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from frcnn_core.survey.objects import ObjectTable

QUANTILES = (0, 5, 25, 50, 75, 95, 100)
"""Percent: what is told of a distribution."""


def quantiles(values: np.ndarray) -> list[float]:
    """The values at ``QUANTILES``, of at least one value."""
    return [float(value) for value in np.percentile(values.astype(float), QUANTILES)]


def sizes_by_class(table: ObjectTable) -> dict[str, dict[str, list[float]]]:
    """Class -> ``width``, ``height``, ``side`` (root of the area) and ``ratio`` (width / height) at
    ``QUANTILES``; in the pixels of the table.  Classes without objects are left out."""
    sides = table.sides.astype(float)
    found = {}
    for index, name in enumerate(table.class_names):
        height, width = sides[table.classes == index].T
        if len(height):
            found[name] = {
                "width": quantiles(width),
                "height": quantiles(height),
                "side": quantiles(np.sqrt(width * height)),
                "ratio": quantiles(width / height),
            }
    return found


def objects_by_split(table: ObjectTable) -> dict[str, dict[str, int]]:
    """Split -> class -> number of objects, of every class."""
    return {
        split: dict(zip(table.class_names, table.objects(index).tolist(), strict=True))
        for index, split in enumerate(table.counts)
    }


def mean_of(counts: Counter[int]) -> float:
    """The mean of counted numbers; NaN of none."""
    total = counts.total()
    return sum(value * n for value, n in counts.items()) / total if total else float("nan")


def as_dict(table: ObjectTable, pixels: str) -> dict[str, Any]:
    """Everything, ready for JSON.

    Args:
        pixels: what the boxes are measured in, ``network`` or ``image``.
    """
    objects = objects_by_split(table)
    return {
        "classes": list(table.class_names),
        "splits": {
            split: {
                "images": count.num_images,
                "images_without_objects": count.objects_per_image[0],
                "unreadable": count.num_unreadable,
                "objects": objects[split],
                "difficult": count.num_difficult,
                "crowds": count.num_crowds,
                "without_area": count.num_without_area,
                "left_out": dict(count.left_out.most_common()),
                "objects_per_image": {
                    str(number): count.objects_per_image[number]
                    for number in sorted(count.objects_per_image)
                },
                "image_sizes": [
                    {"height": height, "width": width, "images": number}
                    for (height, width), number in count.image_sizes.most_common()
                ],
            }
            for split, count in table.counts.items()
        },
        "pixels": pixels,
        "percent": list(QUANTILES),
        "boxes": {
            name: {
                measure: [round(value, 4) for value in values]
                for measure, values in measures.items()
            }
            for name, measures in sizes_by_class(table).items()
        },
    }
