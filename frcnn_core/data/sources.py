"""Where records and images are, and a look at all records before work begins."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frcnn_core.data import index as record_index
from frcnn_core.data.index import RecordIndex
from frcnn_core.errors import DataError

if TYPE_CHECKING:
    from frcnn_core.data.classes import ClassMap
    from frcnn_core.data.preprocessing import Preprocessing

logger = logging.getLogger(__name__)

DIFFICULT_OCCLUSION = 1
"""From this ``occlusion`` on an object is difficult: neither found nor missed in evaluation."""


@dataclass(frozen=True)
class Source:
    """Record files and the folder of the images they speak of."""

    records: tuple[Path, ...]
    """TFRecord files, after globbing and splitting by fold."""
    images: Path
    """``image_directory_path``: a record's ``frame/id`` continues this path."""
    extension: str
    """Of the images whose record does not say theirs, without the dot."""
    weight: float = 1.0
    """``source_weight``: see ``SamplingMode``."""

    def image_path(self, frame_id: str, extension: str = "") -> str:
        """Where the image of a record is; ``extension`` as in ``ParsedRecord``."""
        return f"{self.images}/{frame_id}{extension or '.' + self.extension}"


@dataclass
class RecordSummary:
    """What is in the records of some sources."""

    count: int = 0
    """Images."""
    labels: Counter[str] = field(default_factory=Counter)
    """Objects per label name, before the class map."""
    objects: Counter[str] = field(default_factory=Counter)
    """Objects per class, after the class map; crowds are not among them."""
    num_crowds: int = 0
    """Crowds of a class: left out of training, difficult in evaluation."""
    num_difficult: int = 0
    """Objects and crowds of a class that are difficult."""
    num_empty: int = 0
    """Images without any object of a class."""
    max_objects: int = 0
    """Most objects of a class in one image."""
    image_sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Images per (height, width), as the records state it."""
    missing: list[str] = field(default_factory=list)
    """Paths of images that do not exist."""

    @property
    def largest_size(self) -> tuple[int, int]:
        """Largest height and largest width, which may be those of different images."""
        return (max(h for h, _ in self.image_sizes), max(w for _, w in self.image_sizes))

    def num_larger_than(self, height: int, width: int) -> int:
        """How many images do not fit into height x width."""
        return sum(n for (h, w), n in self.image_sizes.items() if h > height or w > width)


def split_by_fold(
    paths: Iterable[Path], validation_fold: int | None
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Record files for training and for validation, each sorted by name.

    A file is for validation when its name says ``fold-VVV-of-``; files without a fold are for
    training, and all files are when ``validation_fold`` is None.

    Source: TLT's ``dataset_convert``, which writes these names.
    """
    mark = None if validation_fold is None else f"fold-{validation_fold:03d}-of-"
    ordered = sorted(paths)
    validation = tuple(path for path in ordered if mark is not None and mark in path.name)
    return tuple(path for path in ordered if path not in set(validation)), validation


def inspect(
    sources: Sequence[Source], class_map: ClassMap, *, max_missing: int = 0
) -> RecordSummary:
    """What is in all records, without decoding an image, and whether they can be used.

    Args:
        max_missing: images that may be missing before it is an error.

    Raises:
        DataError: record files cannot be read (all are told), there are no records, more images
            are missing, or no object is of a mapped class.
    """
    summary = RecordSummary()
    unreadable: list[str] = []
    for source in sources:
        for path in source.records:
            try:
                index = record_index.of(path)
            except DataError as error:
                unreadable.append(str(error))
                continue
            _count(index, class_map, summary)
            summary.missing += _missing_images(source, index)
    if unreadable:
        raise DataError("\n".join(unreadable))
    if not summary.count:
        files = ", ".join(str(path) for source in sources for path in source.records)
        raise DataError(f"There are no records in {files or 'any data source'}.")
    summary.missing = list(dict.fromkeys(summary.missing))
    if len(summary.missing) > max_missing:
        raise DataError(_describe_missing(summary.missing, summary.count))
    if not summary.objects and not summary.num_crowds:
        found = ", ".join(f"{name} ({n})" for name, n in summary.labels.most_common())
        raise DataError(
            "target_class_mapping: none of its keys is in the records. "
            f"Keys: {', '.join(sorted(class_map.mapping))}. "
            f"In the records: {found or 'no objects at all'}."
        )
    return summary


def warn_of_losses(
    summary: RecordSummary, preprocessing: Preprocessing, max_objects: int | None
) -> None:
    """Log what of the data the network will not see, once, before it happens."""
    if not preprocessing.resize and not preprocessing.is_dynamic:
        size = (preprocessing.height, preprocessing.width)
        if num_cut := summary.num_larger_than(*size):
            logger.warning(
                "%d of %d images are larger than the network input (%d x %d, height x width) and "
                "are cut at the right and bottom, with the objects there. To see whole images, "
                "set enable_auto_resize: True.",
                *(num_cut, summary.count, *size),
            )
    if max_objects is not None and summary.max_objects > max_objects:
        logger.warning(
            "An image has %d objects, but max_objects_num_per_image is %d: only the largest are "
            "used for training. To use all, set it to %d.",
            *(summary.max_objects, max_objects, summary.max_objects),
        )


def _count(index: RecordIndex, class_map: ClassMap, summary: RecordSummary) -> None:
    """Add a record file to ``summary``."""
    summary.count += index.count
    summary.image_sizes.update(index.image_sizes)
    kinds = index.kinds
    ids = class_map.ids([kind.label for kind in kinds]).numpy().tolist() if kinds else []
    numbers = np.bincount(index.objects, minlength=len(kinds)).tolist() if kinds else []
    for kind, class_id, number in zip(kinds, ids, numbers, strict=True):
        summary.labels[kind.label] += number
        if class_id < 0:
            continue
        if kind.crowd:
            summary.num_crowds += number
        else:
            summary.objects[class_map.names[class_id]] += number
        if kind.crowd or kind.occlusion >= DIFFICULT_OCCLUSION:
            summary.num_difficult += number
    to_learn = [i >= 0 and not kind.crowd for i, kind in zip(ids, kinds, strict=True)]
    images = np.repeat(np.arange(index.count), index.num_objects)  # of each object
    learnt = np.array(to_learn, bool)[np.array(index.objects, int)]
    by_image = np.bincount(images[learnt], minlength=index.count)
    summary.num_empty += int(np.sum(by_image == 0))
    summary.max_objects = max(summary.max_objects, int(by_image.max(initial=0)))


def _missing_images(source: Source, index: RecordIndex) -> list[str]:
    """Paths of the images that do not exist."""
    paths = [
        source.image_path(frame_id, extension)
        for extension, frame_ids in index.frame_ids.items()
        for frame_id in frame_ids
    ]
    # One listing per folder is much faster than asking for every file where there are many.
    present: dict[str, set[str]] = {}
    missing = []
    for path in paths:
        folder, _, name = path.rpartition("/")
        if folder not in present:
            present[folder] = set(_list(Path(folder)))
        if name not in present[folder]:
            missing.append(path)
    return missing


def _list(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _describe_missing(missing: list[str], count: int) -> str:
    first = Path(missing[0])
    message = f"{len(missing)} of {count} images are missing, the first is {first}."
    others = sorted({name for name in _list(first.parent) if Path(name).stem == first.stem})
    if others:
        return f"{message} There is {', '.join(others)}: set image_extension accordingly."
    if not first.parent.is_dir():
        return f"{message} There is no folder {first.parent}: is image_directory_path right?"
    return f"{message} Is image_directory_path right?"
