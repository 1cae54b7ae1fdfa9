"""Where records and images are, and a look at all records before work begins."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from frcnn_core.data import records
from frcnn_core.errors import DataError

if TYPE_CHECKING:
    from frcnn_core.data.classes import ClassMap
    from frcnn_core.preprocessing import Preprocessing

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
    """``source_weight``."""

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
    """Objects per class, after the class map."""
    num_difficult: int = 0
    """Objects of a class that are difficult."""
    num_empty: int = 0
    """Images without any object of a class."""
    max_objects: int = 0
    """Most objects of a class in one image."""
    image_sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Images per (height, width), as the records state it."""

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


def inspect(sources: Sequence[Source], class_map: ClassMap) -> RecordSummary:
    """Read all records once, without decoding an image, and see that they can be used.

    Raises:
        DataError: a record file cannot be read, there are no records, images are missing, or
            no object is of a mapped class.
    """
    summary = RecordSummary()
    missing: list[str] = []
    for source in sources:
        frame_ids = _count(source, class_map, summary)
        missing += _missing_images(source, frame_ids)
    if not summary.count:
        files = ", ".join(str(path) for source in sources for path in source.records)
        raise DataError(f"There are no records in {files or 'any data source'}.")
    if missing:
        raise DataError(_describe_missing(missing, summary.count))
    if not summary.objects:
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


def _count(source: Source, class_map: ClassMap, summary: RecordSummary) -> list[str]:
    """Add the records of a source to ``summary``; returns their frame ids."""
    import numpy as np
    import tensorflow as tf

    files = [str(path) for path in source.records]
    frame_ids: list[str] = []
    if not files:
        return frame_ids
    parsed = tf.data.TFRecordDataset(files).map(records.parse, num_parallel_calls=tf.data.AUTOTUNE)
    try:
        # Python sees a thousand images at a time: one by one would take minutes for large sets.
        for chunk in parsed.ragged_batch(1000):
            frame_ids += [name.decode() for name in chunk.frame_id.numpy().tolist()]
            summary.image_sizes.update(map(tuple, chunk.size.numpy().tolist()))
            labels = chunk.class_names.flat_values
            summary.labels.update(name.decode() for name in labels.numpy().tolist())
            ids = class_map.ids(labels).numpy()
            summary.objects.update(class_map.names[i] for i in ids[ids >= 0].tolist())
            difficult = chunk.occlusion.flat_values.numpy() >= DIFFICULT_OCCLUSION
            summary.num_difficult += int(np.sum(difficult & (ids >= 0)))
            rows = chunk.class_names.value_rowids().numpy()
            num_objects = np.bincount(rows[ids >= 0], minlength=len(chunk.frame_id))
            summary.num_empty += int(np.sum(num_objects == 0))
            summary.max_objects = max(summary.max_objects, int(num_objects.max()))
    except tf.errors.OpError as error:
        raise _unreadable_records(files, error) from error
    summary.count += len(frame_ids)
    return frame_ids


def _unreadable_records(files: list[str], error: Exception) -> DataError:
    """Which record file is at fault; the error of a dataset over many does not say."""
    import tensorflow as tf

    for file in files:
        try:
            for number, record in enumerate(tf.data.TFRecordDataset(file)):
                try:
                    records.from_example(record.numpy())
                except DataError as problem:
                    return DataError(f"{file}: record {number}: {problem}")
        except tf.errors.NotFoundError:
            return DataError(f"{file}: there is no such file.")
        except tf.errors.OpError as problem:
            return DataError(f"{file}: no TFRecord file, or a damaged one: {problem.message}")
    return DataError(f"{', '.join(files)}: cannot be read: {error}")


def _missing_images(source: Source, frame_ids: list[str]) -> list[str]:
    """Paths of the images that do not exist."""
    paths = [Path(source.image_path(frame_id)) for frame_id in dict.fromkeys(frame_ids)]
    # One listing per folder is much faster than asking for every file where there are many.
    present = {folder: set(_list(folder)) for folder in {path.parent for path in paths}}
    return [str(path) for path in paths if path.name not in present[path.parent]]


def _list(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
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
