"""All objects of a data set in one table, without decoding an image."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from frcnn_core.data import Labels, image_files
from frcnn_core.data.sources import DIFFICULT_OCCLUSION
from frcnn_core.errors import DataError
from frcnn_core.survey.in_order import in_order
from frcnn_core.survey.labelled_files import LabelledFile, Split
from frcnn_core.survey.view import NetworkView

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass
class SplitCounts:
    """What is counted of a split."""

    num_images: int = 0
    """With labels that could be read."""
    num_unreadable: int = 0
    """Left out: labels or image header cannot be read."""
    num_without_area: int = 0
    """Objects left out: their box has no width, no height or no place in the image."""
    num_difficult: int = 0
    """Objects that are neither found nor missed in evaluation."""
    num_crowds: int = 0
    """Not among the objects."""
    objects_per_image: Counter[int] = field(default_factory=Counter)
    image_sizes: Counter[Size] = field(default_factory=Counter)
    """Images per (height, width), in pixels of the file."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Objects per class name that the class map leaves out."""


class SampleImage(NamedTuple):
    """An image to show."""

    split: str
    file: LabelledFile
    size: Size
    labels: Labels


@dataclass(frozen=True)
class ObjectTable:
    """Every object of every split that has a class and an area.

    Boxes are in network pixels where a ``NetworkView`` was given, else in those of the image.
    """

    class_names: tuple[str, ...]
    counts: dict[str, SplitCounts]
    """By the name of the split."""
    boxes: np.ndarray
    """(N, 4) float32 (y1, x1, y2, x2), clipped to the image."""
    sizes: np.ndarray
    """(N, 2) float32 (height, width) of each box's image in the same pixels."""
    classes: np.ndarray
    """(N,) int32 into class_names."""
    splits: np.ndarray
    """(N,) int32 into the keys of ``counts``."""
    samples: tuple[SampleImage, ...] = ()

    def objects(self, split: int) -> np.ndarray:
        """(K,) objects of each class in a split."""
        return np.bincount(self.classes[self.splits == split], minlength=len(self.class_names))

    @property
    def sides(self) -> np.ndarray:
        """(N, 2) height and width."""
        return self.boxes[:, 2:] - self.boxes[:, :2]


def gather(
    splits: Sequence[Split],
    view: NetworkView | None = None,
    *,
    num_samples: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ObjectTable:
    """All objects, without those that cannot be used; ``validate`` tells what is wrong with them.

    Args:
        view: maps classes and boxes; None leaves both as they are in the labels.
        num_samples: images of each split to pick, evenly spaced.
        threads: see ``in_order``.
        progress: called with the number of images read and their total.
    """
    names: dict[str, int] = {}
    if view is not None:
        names = {name: index for index, name in enumerate(view.class_map.names)}
    boxes, sizes, ids, split_ids = array("f"), array("f"), array("i"), array("i")
    counts: dict[str, SplitCounts] = {}
    samples: list[SampleImage] = []
    done, total = 0, sum(split.count for split in splits)
    for split_id, split in enumerate(splits):
        count = counts.setdefault(split.name, SplitCounts())
        wanted = {split.count * i // num_samples for i in range(num_samples)}
        for number, read in enumerate(in_order(_read, split.files, threads=threads)):
            done += 1
            progress(done, total)
            if read is None:
                count.num_unreadable += 1
                continue
            file, size, labels = read
            if number in wanted:
                samples.append(SampleImage(split.name, file, size, labels))
            found = _usable(labels, size, view, count)
            for class_name, box in found.objects:
                boxes.extend(box)
                sizes.extend(found.size)
                ids.append(names.setdefault(class_name, len(names)))
                split_ids.append(split_id)
            count.num_images += 1
            count.image_sizes[size] += 1
            count.objects_per_image[len(found.objects)] += 1
    classes = np.frombuffer(ids, np.int32) if ids else np.zeros(0, np.int32)
    # Without a view, classes are numbered as they came; alphabetical order is the same each time.
    ordered = sorted(names)
    ranks = np.argsort(np.argsort(list(names))) if names else np.zeros(0, int)
    return ObjectTable(
        class_names=tuple(ordered),
        counts=counts,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        sizes=np.array(sizes, np.float32).reshape(-1, 2),
        classes=ranks[classes].astype(np.int32),
        splits=np.array(split_ids, np.int32),
        samples=tuple(samples),
    )


class _Usable(NamedTuple):
    size: Size
    """Of the image, in the pixels of the boxes."""
    objects: list[tuple[str, list[float]]]
    """Class name and (y1, x1, y2, x2)."""


def _read(file: LabelledFile) -> tuple[LabelledFile, Size, Labels] | None:
    try:
        size = file.stated_size or image_files.size(file.image)
        return file, size, file.read(size)
    except DataError:
        return None


def _usable(labels: Labels, size: Size, view: NetworkView | None, count: SplitCounts) -> _Usable:
    """The objects of an image that have a class and an area; ``count`` is told of the others."""
    chosen = []
    for item in labels.objects:
        target = item.class_name if view is None else view.class_of(item.class_name)
        if target is None:
            count.left_out[item.class_name] += 1
        elif item.crowd:
            count.num_crowds += 1
        else:
            chosen.append((target, item))
    corners = np.array([(item.y1, item.x1, item.y2, item.x2) for _, item in chosen], np.float32)
    corners = corners.reshape(-1, 4)
    if view is None:
        seen = size
        corners = np.clip(corners, 0, np.array([*size, *size], np.float32))
    else:
        seen = view.fit(size).size
        corners = view.boxes(corners, size)
    with_area: np.ndarray = np.all((corners[:, 2:] - corners[:, :2]) > 0, axis=1)
    count.num_without_area += int((~with_area).sum())
    count.num_difficult += sum(
        item.occlusion >= DIFFICULT_OCCLUSION
        for (_, item), kept in zip(chosen, with_area.tolist(), strict=True)
        if kept
    )
    objects = [
        (target, corner)
        for (target, _), corner, kept in zip(
            chosen, corners.tolist(), with_area.tolist(), strict=True
        )
        if kept
    ]
    return _Usable(seen, objects)
