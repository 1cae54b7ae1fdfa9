"""Images and their labels to TFRecords, in TLT's layout and file names.

Differences to the original, which reads the result all the same: an empty partition does not
renumber the others, a partition of fewer images than shards makes fewer shards, and each file
begins with an image that has objects, where there is one, because the original learns the
features' kinds from the first record.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from frcnn_core.data import folders, partitions, records
from frcnn_core.data.folders import LabelledFolder
from frcnn_core.data.sample_modifier import SampleModifier
from frcnn_core.errors import DataError, FrcnnError
from frcnn_core.files import whole, write_whole

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConversionPlan:
    """What to convert, and into what."""

    folders: tuple[LabelledFolder, ...]
    """One; as many as partitions if mode is ``folders``."""
    output: Path
    """Beginning of the record files' names."""
    mode: Literal["shuffled", "random", "sequence", "lists", "folders"] = "shuffled"
    """How images are dealt to partitions: ``split_shuffled``, ``split_sorted``,
    ``deal_sequences`` or ``read_list`` of ``partitions``, or a folder for each."""
    val_fraction: float = 0.2
    """Of the images, for partition 0; of modes ``shuffled`` and ``random``."""
    seed: int = 42
    """Of mode ``shuffled``."""
    sequences: Path | None = None
    """JSON file {sequence: [image name without extension, ...]}, for mode ``sequence``."""
    num_partitions: int = 2
    """Of mode ``sequence``."""
    lists: tuple[Path, ...] = ()
    """Text files of image names, a partition each, for mode ``lists``."""
    num_shards: tuple[int, ...] = (0,)
    """Files per partition, one number for all or one for each; 0 is one file whose name has no
    shard number."""
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
    records: tuple[Path, ...]
    """The record files."""
    warnings: Path | None
    """``_warning.json``, if there is something in it."""
    num_left_out: int
    """Bad images that were skipped."""
    left_out: tuple[str, ...]
    """What is wrong with them, one message a problem."""
    without_area: Mapping[str, Sequence[float]]
    """``labelfile_index`` -> [x1, y1, x2, y2] of boxes that were left out, as in
    ``_warning.json``."""
    extension: str
    """Common ending of the image files with the dot; empty where they differ, and records say
    each one's."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All that were written."""
        return self.records + ((self.warnings,) if self.warnings else ())


class DealtImage(NamedTuple):
    """An image of a partition."""

    folder: LabelledFolder
    name: str
    path: Path


class _Sample(NamedTuple):
    """A record as it is kept until all are checked: smaller than its objects."""

    serialized: bytes
    class_names: tuple[str, ...]
    """One an object."""


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
    dealt, names_without_image = deal(plan)
    extension = folders.common_extension(image.path for images in dealt for image in images)
    read = _read(dealt, progress, with_extension=not extension)
    problems = sorted([*names_without_image, *read.problems])
    if problems and not skip_bad:
        raise DataError(
            "\n".join(problems) + f"\n{len(problems)} problem(s); nothing was written."
            " Mend them, or give --skip-bad to leave those images out."
        )
    if not any(read.folds):
        raise DataError("\n".join([*problems, "No image is left to convert."]))
    folds = read.folds
    if plan.modifier:
        folds = _modify(plan, plan.modifier, folds)
    record_files, warnings = _write(plan, folds, read.without_area, earlier)
    return ConversionReport(
        num_images={number: len(fold) for number, fold in enumerate(folds)},
        objects={
            number: Counter(chain.from_iterable(sample.class_names for sample in fold))
            for number, fold in enumerate(folds)
        },
        records=record_files,
        warnings=warnings,
        num_left_out=len(names_without_image) + read.num_bad,
        left_out=tuple(problems),
        without_area=read.without_area,
        extension=extension,
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


def deal(plan: ConversionPlan) -> tuple[list[list[DealtImage]], list[str]]:
    """Images of each partition, in random order, and what is wrong with names and partitions.

    Raises:
        DataError: as ``LabelledFolder.find``, or a list of images cannot be read.
    """
    found = [folder.find() for folder in plan.folders]
    problems = [problem for _, one in found for problem in one]
    if plan.mode == "folders":
        dealt = [
            [
                DealtImage(folder, name, images[name])
                for name in partitions.in_random_order([*images])
            ]
            for folder, (images, _) in zip(plan.folders, found, strict=True)
        ]
    else:
        ((folder, (images, _)),) = zip(plan.folders, found, strict=True)
        names, lost = _partition(plan, folder, images)
        problems += lost
        dealt = [
            [DealtImage(folder, name, images[name]) for name in partitions.in_random_order(one)]
            for one in names
        ]
    return dealt, problems + _shared(dealt)


def _partition(
    plan: ConversionPlan, folder: LabelledFolder, images: Mapping[str, Path]
) -> tuple[list[list[str]], list[str]]:
    """Names for each partition, all of them of ``images``, and what is wrong with other names."""
    everyone = list(images)
    if plan.mode == "shuffled":
        return partitions.split_shuffled(everyone, plan.val_fraction, plan.seed), []
    if plan.mode == "random":
        return partitions.split_sorted(everyone, plan.val_fraction), []
    if plan.mode == "lists":
        lists = {path: partitions.read_list(path) for path in plan.lists}
        lost = [
            f"{path}:{line}: {name!r} has no image in {folder.folder}."
            for path, names in lists.items()
            for name, line in names.items()
            if name not in images
        ]
        chosen = [list(names) for names in lists.values()]
    elif plan.num_partitions == 1:
        return [everyone], []
    elif plan.sequences is None:
        raise DataError("partition_mode 'sequence' needs a file that lists the sequences' frames.")
    else:
        sequences = partitions.read_sequences(plan.sequences)
        chosen = partitions.deal_sequences(sequences, plan.num_partitions)
        lost = [
            f"{plan.sequences}: frame {name!r} has no image in {folder.folder}."
            for names in chosen
            for name in names
            if name not in images
        ]
    return [[name for name in names if name in images] for names in chosen], lost


def _shared(dealt: Sequence[Sequence[DealtImage]]) -> list[str]:
    """A message for each image that is in several partitions."""
    homes: dict[Path, int] = {}
    problems = []
    for number, images in enumerate(dealt):
        for image in images:
            if (home := homes.setdefault(image.path, number)) != number:
                problems.append(
                    f"{image.path}: is in partition {home} and in partition {number}; training and"
                    " validation could share it."
                )
    return problems


class _Reading(NamedTuple):
    """What became of the images."""

    folds: list[list[_Sample]]
    """The good ones of each partition."""
    problems: list[str]
    num_bad: int
    without_area: dict[str, list[float]]
    """As in ``ConversionReport``."""


def _read(
    dealt: Sequence[Sequence[DealtImage]],
    progress: Callable[[int, int], None],
    *,
    with_extension: bool,
) -> _Reading:
    """Read all labels and image headers, several at a time."""

    def read(image: DealtImage) -> tuple[_Sample, dict[str, list[float]]] | list[str]:
        try:
            return _sample(image, with_extension=with_extension)
        except DataError as error:
            return str(error).splitlines()

    reading = _Reading([[] for _ in dealt], [], 0, {})
    total = sum(map(len, dealt))
    done = 0
    with ThreadPoolExecutor() as pool:
        for fold, images in zip(reading.folds, dealt, strict=True):
            for result in pool.map(read, images):
                if isinstance(result, list):
                    reading.problems.extend(result)
                else:
                    sample, without_area = result
                    fold.append(sample)
                    reading.without_area.update(without_area)
                done += 1
                progress(done, total)
    return reading._replace(num_bad=total - sum(map(len, reading.folds)))


def _sample(image: DealtImage, *, with_extension: bool) -> tuple[_Sample, dict[str, list[float]]]:
    """An image's record without the boxes that have no area, and these boxes.

    Raises:
        DataError: as ``LabelledFolder.read``.
    """
    record = image.folder.read(image.name, image.path)
    place = image.folder.labels.place(image.name)
    without_area = {
        f"{place}_{index}": [item.x1, item.y1, item.x2, item.y2]
        for index, item in enumerate(record.objects)
        if not item.has_area
    }
    record = replace(
        record,
        objects=tuple(item for item in record.objects if item.has_area),
        extension=image.path.suffix if with_extension else "",
    )
    class_names = tuple(sys.intern(item.class_name) for item in record.objects)
    return _Sample(records.to_example(record), class_names), without_area


def _modify(
    plan: ConversionPlan, modifier: SampleModifier, folds: Sequence[list[_Sample]]
) -> list[list[_Sample]]:
    training = [number for number in range(len(folds)) if number != plan.validation_fold]
    return [
        modifier.modify(fold, num_partitions=len(training)) if number in training else fold
        for number, fold in enumerate(folds)
    ]


def _write(
    plan: ConversionPlan,
    folds: Sequence[list[_Sample]],
    without_area: Mapping[str, Sequence[float]],
    earlier: Sequence[Path],
) -> tuple[tuple[Path, ...], Path | None]:
    """Write all files under temporary names, and rename them once the last one is complete.

    Returns:
        The record files, and the file of boxes without area if there are any.
    """
    import tensorflow as tf

    files = []
    with ExitStack() as complete:
        for path, samples in _shards(plan, folds):
            temporary = complete.enter_context(whole(path))
            try:
                with tf.io.TFRecordWriter(str(temporary)) as writer:
                    for sample in samples:
                        writer.write(sample.serialized)
            except tf.errors.OpError as error:
                raise FrcnnError(f"{path} cannot be written: {error.message}") from error
            files.append(path)
    warnings = None
    if without_area:
        warnings = plan.output.with_name(f"{plan.output.name}_warning.json")
        write_whole(warnings, json.dumps(without_area, indent=4) + "\n")
    for path in earlier:
        if path not in (*files, warnings):
            path.unlink()
    return tuple(files), warnings


def _shards(
    plan: ConversionPlan, folds: Sequence[list[_Sample]]
) -> Iterator[tuple[Path, list[_Sample]]]:
    """Each file and what belongs into it; the last shard of a fold takes what is left over."""
    wanted = plan.num_shards * len(folds) if len(plan.num_shards) == 1 else plan.num_shards
    for fold, (samples, most) in enumerate(zip(folds, wanted, strict=True)):
        num_shards = min(most, len(samples))
        num_files = max(num_shards, 1) if samples else 0
        for shard in range(num_files):
            size = len(samples) // num_files
            end = (shard + 1) * size if shard + 1 < num_files else len(samples)
            name = file_name(plan.output.name, fold, len(folds), shard, num_shards)
            yield plan.output.with_name(name), _objects_first(samples[shard * size : end])


def _objects_first(samples: list[_Sample]) -> list[_Sample]:
    first = next((i for i, sample in enumerate(samples) if sample.class_names), 0)
    return [samples[first], *samples[:first], *samples[first + 1 :]]
