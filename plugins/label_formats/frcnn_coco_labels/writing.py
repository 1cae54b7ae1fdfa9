"""COCO's JSON from objects."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import chain, count
from pathlib import Path
from typing import Any, TextIO

from frcnn_coco_labels.reading import end
from frcnn_core.data import LabelledImage, Object
from frcnn_core.data.label_files import refuse_existing
from frcnn_core.errors import DataError
from frcnn_core.files import whole


def write(
    images: Iterable[LabelledImage], output: Path, *, compact_names: bool = False
) -> list[Path]:
    """One file with all images; ids count from 1, those of categories in alphabetical order.

    Args:
        compact_names: take white space out of class names.

    Raises:
        DataError: two images have one name.
        FrcnnError: ``output`` exists or cannot be written.
    """
    refuse_existing(output)
    images = list(images)
    _require_names(images)

    def named(item: Object) -> str:
        return item.class_name.replace(" ", "") if compact_names else item.class_name

    classes = sorted({named(item) for image in images for item in image.objects})
    ids = {name: number for number, name in enumerate(classes, start=1)}
    numbers = count(1)
    annotations = (
        _annotation(item, next(numbers), image_id, ids[named(item)])
        for image_id, image in enumerate(images, start=1)
        for item in image.objects
    )
    with whole(output) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write('{\n"info": {"description": "Written by frcnn"},\n"licenses": [],\n')
        _section(file, "categories", ({"id": ids[name], "name": name} for name in classes), ",\n")
        _section(file, "images", map(_image, count(1), images), ",\n")
        _section(file, "annotations", annotations, "\n}\n")
    return [output]


def _require_names(images: list[LabelledImage]) -> None:
    seen: dict[str, str] = {}
    for image in images:
        if image.name in seen:
            raise DataError(f"{image.file}: {seen[image.name]} is there too; rename one of them.")
        seen[image.name] = image.file


def _section(file: TextIO, name: str, entries: Iterable[dict], after: str) -> None:
    """Entries one a line, without ever having the text of all of them."""
    file.write(f'"{name}": [')
    for separator, entry in zip(_separators(), entries, strict=False):
        file.write(separator + json.dumps(entry, ensure_ascii=False))
    file.write("\n]" + after)


def _separators() -> Iterator[str]:
    return chain(["\n"], iter(lambda: ",\n", None))


def _image(number: int, image: LabelledImage) -> dict[str, Any]:
    height, width = image.size
    return {"id": number, "file_name": image.file, "height": height, "width": width}


def _annotation(item: Object, number: int, image_id: int, category_id: int) -> dict[str, Any]:
    x, y = float(item.x1), float(item.y1)
    width, height = _extent(x, float(item.x2)), _extent(y, float(item.y2))
    annotation = {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": int(item.crowd),
        "segmentation": [],
    }
    if item.occlusion > 0:
        annotation["ignore"] = 1
    return annotation


def _extent(start: float, stop: float) -> float:
    """What ``reading.end`` makes ``stop`` of.

    There is such a number for all edges of up to 15 digits, which annotations have; for some of 17
    the last bit is lost.
    """
    extent = float(Decimal(repr(stop)) - Decimal(repr(start)))
    near = (extent, math.nextafter(extent, math.inf), math.nextafter(extent, -math.inf))
    return next((one for one in near if end(start, one) == stop), extent)
