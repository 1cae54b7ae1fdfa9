"""A folder of images with KITTI labels to TFRecords, in TLT's layout and file names.

Differences to the original, which reads the result all the same: an empty partition does not
renumber the others, a partition of fewer images than shards makes fewer shards, and each file
begins with an image that has objects, where there is one, because the original learns the
features' kinds from the first record.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from frcnn_core.data import image_files, kitti, partitions, records
from frcnn_core.data.records import Record
from frcnn_core.data.sample_modifier import SampleModifier
from frcnn_core.errors import DataError, FrcnnError
from frcnn_core.files import whole, write_whole

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConversionPlan:
    """What to convert, and into what."""

    root: Path
    """Folder that the other names start from; training knows it as image_directory_path."""
    images: str
    """Folder of the images, below root."""
    labels: str
    """Folder of the label files, below root; same names as the images, ending in .txt."""
    output: Path
    """Beginning of the record files' names."""
    extension: str = ".png"
    """Of the image files, in whatever case, with or without the dot."""
    mode: Literal["shuffled", "random", "sequence"] = "shuffled"
    """How images are dealt to partitions: ``split_shuffled``, ``split_sorted`` or
    ``deal_sequences`` of ``partitions``."""
    val_fraction: float = 0.2
    """Of the images, for partition 0; unless mode is ``sequence``."""
    seed: int = 42
    """Of mode ``shuffled``."""
    sequences: Path | None = None
    """JSON file {sequence: [image name without extension, ...]}, for mode ``sequence``."""
    num_partitions: int = 2
    """2 unless mode is ``sequence``."""
    num_shards: int = 0
    """Files per partition; 0 is one whose name has no shard number."""
    modifier: SampleModifier | None = None
    validation_fold: int | None = None
    """Partition that ``modifier`` leaves alone; None modifies them all."""


@dataclass(frozen=True)
class ConversionReport:
    """What was written."""

    num_images: Mapping[int, int]
    """Partition -> records in it, copies counted."""
    objects: Mapping[int, Counter[str]]
    """Partition -> class name -> objects in it, copies counted."""
    files: tuple[Path, ...]
    left_out: tuple[str, ...]
    """Where bad images are skipped: what is wrong with them, one message a problem."""
    without_area: Mapping[str, Sequence[float]]
    """``labelfile_index`` -> [x1, y1, x2, y2] of boxes that were left out, as in
    ``_warning.json``."""


def convert(
    plan: ConversionPlan,
    *,
    skip_bad: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ConversionReport:
    """Read every label and image header, then write the records; nothing if anything is wrong.

    A box without width or height is no reason to stop: it is left out and listed in
    ``_warning.json``, as in the original.  That drops boxes thinner than a pixel too, where they
    lie between two pixel edges; here they stay, as the records keep coordinates unrounded.

    Args:
        skip_bad: leave bad images out instead of stopping, and list them in the report.
        overwrite: replace the records of an earlier conversion with the same output name.
        progress: called with the number of images read and their total.

    Raises:
        DataError: with a line for each bad label line and each bad image.
        FrcnnError: records of that name exist, or cannot be written.
    """
    earlier = existing_records(plan.output)
    if earlier and not overwrite:
        raise FrcnnError(
            f"{plan.output}: {len(earlier)} file(s) of an earlier conversion are there, such as"
            f" {earlier[0].name}. Give another output name, or --overwrite to replace them."
        )
    images = image_files.find(plan.root / plan.images, plan.extension)
    dealt = _deal(plan, list(images))
    samples, problems = _read(plan, images, [name for names in dealt for name in names], progress)
    if problems and not skip_bad:
        raise DataError(
            "\n".join(problems) + f"\n{len(problems)} problem(s); nothing was written."
            " Mend them, or give --skip-bad to leave those images out."
        )
    if not samples:
        raise DataError("\n".join([*problems, "No image is left to convert."]))
    without_area = _boxes_without_area(plan, samples)
    samples = {name: _with_area(sample) for name, sample in samples.items()}
    folds = [[samples[name] for name in names if name in samples] for names in dealt]
    if plan.modifier:
        folds = _modify(plan, plan.modifier, folds)
    if not folds[0] and plan.val_fraction:
        logger.warning("Partition 0 is empty: there are too few images for validation.")
    return ConversionReport(
        num_images={number: len(fold) for number, fold in enumerate(folds)},
        objects={
            number: Counter(item.class_name for sample in fold for item in sample.objects)
            for number, fold in enumerate(folds)
        },
        files=_write(plan, folds, without_area, earlier),
        left_out=tuple(problems),
        without_area=without_area,
    )


def file_name(output: str, fold: int, num_folds: int, shard: int, num_shards: int) -> str:
    """The original's name of a record file; without shard number where ``num_shards`` is 0."""
    name = f"{output}-fold-{fold:03d}-of-{num_folds:03d}"
    return f"{name}-shard-{shard:05d}-of-{num_shards:05d}" if num_shards else name


def existing_records(output: Path) -> list[Path]:
    """Files that an earlier conversion to ``output`` wrote, with any number of folds and shards.

    All of them count: training reads a pattern of names, and would mix old and new ones.
    """
    if not output.parent.is_dir():
        return []
    ending = r"(-fold-\d{3}-of-\d{3}(-shard-\d{5}-of-\d{5})?|_warning\.json)"
    name = re.compile(re.escape(output.name) + ending)
    return sorted(path for path in output.parent.iterdir() if name.fullmatch(path.name))


def _deal(plan: ConversionPlan, names: list[str]) -> list[list[str]]:
    """Image names of each partition, in random order; ``names`` are all of them, sorted."""
    if plan.mode == "shuffled":
        dealt = partitions.split_shuffled(names, plan.val_fraction, plan.seed)
    elif plan.mode == "random":
        dealt = partitions.split_sorted(names, plan.val_fraction)
    elif plan.num_partitions == 1:
        dealt = [names]
    elif plan.sequences is None:
        raise DataError("partition_mode 'sequence' needs a kitti_sequence_to_frames_file.")
    else:
        sequences = partitions.read_sequences(plan.sequences)
        dealt = partitions.deal_sequences(sequences, plan.num_partitions)
    return [partitions.in_random_order(names) for names in dealt]


def _read(
    plan: ConversionPlan,
    images: Mapping[str, Path],
    names: Sequence[str],
    progress: Callable[[int, int], None],
) -> tuple[dict[str, Record], list[str]]:
    """Image name -> record of the good ones, and what is wrong with the others, sorted."""
    labels = plan.root / plan.labels
    if not labels.is_dir():
        raise DataError(f"{labels}: there is no such folder.")
    # Thousands of messages about one mistake would hide it.
    if not any((labels / f"{name}.txt").exists() for name in names):
        raise DataError(f"{labels}: not one of the {len(names)} images has a label file here.")
    problems = [
        f"{plan.sequences}: frame {name!r} has no image in {plan.root / plan.images}."
        for name in names
        if name not in images
    ]
    names = [name for name in names if name in images]
    samples: dict[str, Record] = {}
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda name: _read_image(plan, images[name]), names)
        for number, (name, result) in enumerate(zip(names, results, strict=True), start=1):
            if isinstance(result, Record):
                samples[name] = result
            else:
                problems += result
            progress(number, len(names))
    return samples, sorted(problems)


def _read_image(plan: ConversionPlan, image: Path) -> Record | list[str]:
    """The record of one image, or everything that is wrong with it."""
    problems = []
    try:
        height, width = image_files.size(image)
    except DataError as error:
        problems.append(str(error))
    try:
        objects = kitti.read(_label_file(plan, image.stem))
    except DataError as error:
        problems += str(error).splitlines()
    if problems:
        return problems
    return Record(f"{plan.images.strip('/')}/{image.stem}", height, width, tuple(objects))


def _label_file(plan: ConversionPlan, name: str) -> Path:
    return plan.root / plan.labels / f"{name}.txt"


def _modify(
    plan: ConversionPlan, modifier: SampleModifier, folds: Sequence[list[Record]]
) -> list[list[Record]]:
    training = [number for number in range(len(folds)) if number != plan.validation_fold]
    return [
        modifier.modify(fold, num_partitions=len(training)) if number in training else fold
        for number, fold in enumerate(folds)
    ]


def _boxes_without_area(
    plan: ConversionPlan, samples: Mapping[str, Record]
) -> dict[str, list[float]]:
    return {
        f"{_label_file(plan, name)}_{index}": [item.x1, item.y1, item.x2, item.y2]
        for name, sample in samples.items()
        for index, item in enumerate(sample.objects)
        if not item.has_area
    }


def _with_area(sample: Record) -> Record:
    objects = tuple(item for item in sample.objects if item.has_area)
    return Record(sample.frame_id, sample.height, sample.width, objects)


def _write(
    plan: ConversionPlan,
    folds: Sequence[list[Record]],
    without_area: Mapping[str, Sequence[float]],
    earlier: Sequence[Path],
) -> tuple[Path, ...]:
    """Write all files under temporary names, and rename them once the last one is complete."""
    import tensorflow as tf

    files = []
    with ExitStack() as complete:
        for path, samples in _shards(plan, folds):
            temporary = complete.enter_context(whole(path))
            try:
                with tf.io.TFRecordWriter(str(temporary)) as writer:
                    for sample in samples:
                        writer.write(records.to_example(sample))
            except tf.errors.OpError as error:
                raise FrcnnError(f"{path} cannot be written: {error.message}") from error
            files.append(path)
    if without_area:
        path = plan.output.with_name(f"{plan.output.name}_warning.json")
        write_whole(path, json.dumps(without_area, indent=4) + "\n")
        files.append(path)
    for path in earlier:
        if path not in files:
            path.unlink()
    return tuple(files)


def _shards(
    plan: ConversionPlan, folds: Sequence[list[Record]]
) -> Iterator[tuple[Path, list[Record]]]:
    """Each file and what belongs into it; the last shard of a fold takes what is left over."""
    for fold, samples in enumerate(folds):
        num_shards = min(plan.num_shards, len(samples))
        num_files = max(num_shards, 1) if samples else 0
        for shard in range(num_files):
            size = len(samples) // num_files
            end = (shard + 1) * size if shard + 1 < num_files else len(samples)
            name = file_name(plan.output.name, fold, len(folds), shard, num_shards)
            yield plan.output.with_name(name), _objects_first(samples[shard * size : end])


def _objects_first(samples: list[Record]) -> list[Record]:
    first = next((i for i, sample in enumerate(samples) if sample.objects), 0)
    return [samples[first], *samples[:first], *samples[first + 1 :]]
