"""From TFRecords and image files to batches, with tf.data.

Nothing here is random in itself: the order of an epoch is a function of (seed, epoch), what
augmentation does to an image a function of (seed, epoch, place of the image in the epoch).  So a
resumed training sees what an uninterrupted one would have seen, whatever the number of threads.

Records are read one by one from where the index says they begin.  So an epoch can be in any order
and begin anywhere, and of a record no more than a few numbers are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from frcnn_core.data import index, records
from frcnn_core.data.augment import Augmentation
from frcnn_core.data.bad_images import BadImages
from frcnn_core.data.batches import Batches
from frcnn_core.data.classes import ClassMap
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.data.sampling import SamplingMode, epoch_order
from frcnn_core.data.shards import evaluation_places, training_places
from frcnn_core.data.sources import DIFFICULT_OCCLUSION, Source
from frcnn_core.data.threads import BATCHES_AHEAD, PARALLEL_CALLS, untuned
from frcnn_core.structures import Batch

_as_written = tf.autograph.experimental.do_not_convert
"""For functions of tf.data, whose choices are ``tf.cond``s: to look in them and in all they call
for Python's would take longer than to build them."""


def training_batches(
    sources: Sequence[Source],
    class_map: ClassMap,
    preprocessing: Preprocessing,
    augmentation: Augmentation | None = None,
    *,
    batch_size: int,
    max_objects: int | None,
    seed: int,
    epoch: int,
    first_step: int = 0,
    shard: tuple[int, int] = (0, 1),
    min_box_size: tuple[float, float] = (1.0, 1.0),
    sampling: SamplingMode = SamplingMode.USER_DEFINED,
    bad_images: BadImages | None = None,
) -> Batches:
    """One epoch, in an order drawn from (seed, epoch): every image once, unless ``sampling`` and
    the sources' weights say otherwise.

    Args:
        augmentation: None changes no image.
        batch_size: images per batch; the last batch may have fewer.
        max_objects: keep only the largest objects of an image that has more.
        epoch: from 0.
        first_step: go on in mid-epoch, after this many batches.
        shard: (rank, ranks): this process's part of the epoch.  The n-th batches of all ranks
            are together the n-th of one process with batches so many times as large, and an image
            is augmented alike whichever rank gets it.  All ranks get as many batches: one without
            an image left gets a ``filler``.
        min_box_size: (height, width) in network pixels; smaller objects are dropped, those
            below one pixel in any case.
        sampling: how often the images of each source come.
        bad_images: counts them over all epochs; None allows none.

    Raises:
        DataError: a record file cannot be read, or the weights make no sense.
    """
    order = epoch_order(
        [[len(index.offsets(path)) for path in source.records] for source in sources],
        weights=[source.weight for source in sources],
        mode=sampling,
        seed=seed,
        epoch=epoch,
    )
    places, num_fillers = training_places(
        len(order), shard, batch_size=batch_size, first_step=first_step
    )
    return _batches(
        order[places],
        places,
        sources,
        class_map,
        preprocessing,
        augmentation,
        batch_size=batch_size,
        max_objects=max_objects,
        min_box_size=min_box_size,
        crowds_are_difficult=False,
        seeds=tf.constant((seed, epoch), tf.int64),
        bad_images=bad_images,
        num_fillers=num_fillers,
    )


def evaluation_batches(
    sources: Sequence[Source],
    class_map: ClassMap,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    max_objects: int | None = None,
    min_box_size: tuple[float, float] = (1.0, 1.0),
    shard: tuple[int, int] = (0, 1),
    bad_images: BadImages | None = None,
) -> Batches:
    """Every image once, in the order of the records; nothing is random.

    Args:
        max_objects: leave it None, so that no ground truth is lost.
        min_box_size: as in training: objects no network could see are not asked for.
        shard: (rank, ranks): this process gets every ranks-th batch, from its rank-th one on, as
            it would be in one process.
        bad_images: counts them; None allows none.
    """
    count = sum(len(index.offsets(path)) for source in sources for path in source.records)
    places = evaluation_places(count, shard, batch_size=batch_size)
    return _batches(
        places,
        places,
        sources,
        class_map,
        preprocessing,
        None,
        batch_size=batch_size,
        max_objects=max_objects,
        min_box_size=min_box_size,
        crowds_are_difficult=True,
        seeds=tf.zeros(2, tf.int64),
        bad_images=bad_images,
    )


def _batches(
    numbers: np.ndarray,
    places: np.ndarray,
    sources: Sequence[Source],
    class_map: ClassMap,
    preprocessing: Preprocessing,
    augmentation: Augmentation | None,
    *,
    batch_size: int,
    max_objects: int | None,
    min_box_size: tuple[float, float],
    crowds_are_difficult: bool,
    seeds: tf.Tensor,
    bad_images: BadImages | None,
    num_fillers: int = 0,
) -> Batches:
    """
    Args:
        numbers: (N,) of the records, counted through all files of all sources.
        places: (N,) in the epoch, to which the augmentation belongs.
    """
    files = [(path, source) for source in sources for path in source.records]
    file_table = tf.constant(
        [(str(path), str(source.images), "." + source.extension) for path, source in files],
        tf.string,
        shape=(len(files), 3),
    )
    offsets = [index.offsets(path) for path, _ in files]
    starts = np.cumsum([0, *map(len, offsets)])
    # The last file that begins at or before the record; empty files begin where the next does.
    of_file = np.searchsorted(starts, numbers, side="right") - 1
    offset = np.concatenate([np.zeros(0, np.int64), *offsets])[numbers]

    reading = _Reading(
        tuple(class_map.mapping.items()),
        preprocessing,
        augmentation,
        max_objects=max_objects,
        min_box_size=min_box_size,
        crowds_are_difficult=crowds_are_difficult,
    )

    def found(first: int) -> tf.data.Dataset:
        """Of (place, folder, extension, record), from a batch on."""
        columns = (places, of_file, offset)
        where = tuple(column[first * batch_size :].astype(np.int64) for column in columns)
        return untuned(tf.data.Dataset.from_tensor_slices(where).flat_map(read))

    @_as_written
    def read(place: tf.Tensor, file: tf.Tensor, offset: tf.Tensor) -> tf.data.Dataset:
        name, folder, extension = tf.unstack(file_table[file])
        # There is no op that reads a record.  A dataset inside of the parallel map would do, but
        # where TensorFlow has to add up in order it makes such a map go step by step.
        variant = tf.raw_ops.TFRecordDatasetV2(
            filenames=name,
            compression_type="",
            buffer_size=tf.zeros((), tf.int64),
            byte_offsets=offset,
        )
        rest = tf.data.experimental.from_variant(variant, tf.TensorSpec((), tf.string))
        return rest.take(1).map(_as_written(lambda record: (place, folder, extension, record)))

    def build(first: int, left_out: Collection[str]) -> tf.data.Dataset:
        shapes = Batch(preprocessing.shape, (2,), (2,), (None, 4), (None,), (None,), ())
        example = _traced(replace(reading, left_out=frozenset(left_out)))
        return (
            found(first)
            .map(
                _as_written(lambda *record: example(*record, seeds)),
                num_parallel_calls=PARALLEL_CALLS,
                deterministic=True,
            )
            .padded_batch(
                batch_size,
                padded_shapes=(shapes, (2,)),
                padding_values=(Batch(0.0, 0.0, 0.0, 0.0, -1, False, ""), 0),
            )
            .prefetch(BATCHES_AHEAD)
        )

    def images(number: int) -> Iterator[tuple[str, Sequence[int]]]:
        for path, labels in found(number).take(batch_size).map(_described):
            yield path.numpy().decode(), labels.size.numpy().tolist()

    return Batches(
        build,
        images=images,
        record_files=[path for path, _ in files],
        preprocessing=preprocessing,
        bad_images=BadImages() if bad_images is None else bad_images,
        num_fillers=num_fillers,
    )


Objects = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""Boxes (G, 4), classes (G,) and difficult (G,) of an image."""


@dataclass(frozen=True)
class _Reading:
    """What becomes of a record, in every epoch alike."""

    mapping: tuple[tuple[str, str], ...]
    """Of the class map."""
    preprocessing: Preprocessing
    augmentation: Augmentation | None
    max_objects: int | None
    min_box_size: tuple[float, float]
    crowds_are_difficult: bool
    left_out: frozenset[str] = frozenset()
    """Paths of files that are known to be bad, and not read."""

    def example(
        self,
        place: tf.Tensor,
        folder: tf.Tensor,
        extension: tf.Tensor,
        record: tf.Tensor,
        seeds: tf.Tensor,
    ) -> tuple[Batch, tf.Tensor]:
        """One image as a ``Batch`` without its first axis, and the size that its record states."""
        preprocessing = self.preprocessing
        path, labels = _described(place, folder, extension, record)
        pixels, present = _decode(path, labels.size, preprocessing, self.left_out)
        image, size, scale = preprocessing.resample(pixels)
        boxes = tf.clip_by_value(labels.boxes * tf.tile(scale, [2]), 0.0, tf.tile(size, [2]))
        difficult = labels.occlusion >= DIFFICULT_OCCLUSION
        ids = ClassMap(dict(self.mapping)).ids(labels.class_names)
        objects: Objects = (boxes, ids, difficult | labels.crowd)
        kept = present & (ids >= 0) & _large_enough(boxes, self.min_box_size)
        if not self.crowds_are_difficult:
            kept &= ~labels.crowd
        objects = _select(objects, kept)
        if self.augmentation is not None:
            seed: Any = tf.random.fold_in(seeds, place)  # type: ignore[arg-type]  # takes tensors too
            image, *changed = self.augmentation.apply(image, *objects, seed)
            objects = _select(changed, _large_enough(changed[0], self.min_box_size))
        if self.max_objects is not None:
            objects = _largest(objects, self.max_objects)
        boxes, classes, difficult = _at_least_one_row(objects)
        # Augmentation may have coloured it.
        image = tf.cond(present, lambda: image, lambda: tf.zeros_like(image))
        images = preprocessing.normalize(preprocessing.pad(image))
        size, scale = tf.where(present, size, 0.0), tf.where(present, scale, 1.0)
        return Batch(images, size, scale, boxes, classes, difficult, path), labels.size


@lru_cache(maxsize=16)
def _traced(reading: _Reading) -> Callable[..., tuple[Batch, tf.Tensor]]:
    """``example`` as a function of TensorFlow's: to build it takes a second, and every epoch has a
    data set of its own that calls it."""
    return tf.function(
        reading.example,
        input_signature=[
            tf.TensorSpec([], tf.int64, "place"),
            tf.TensorSpec([], tf.string, "folder"),
            tf.TensorSpec([], tf.string, "extension"),
            tf.TensorSpec([], tf.string, "record"),
            tf.TensorSpec([2], tf.int64, "seeds"),
        ],
        autograph=False,
    )


@_as_written
def _described(
    place: tf.Tensor, folder: tf.Tensor, extension: tf.Tensor, record: tf.Tensor
) -> tuple[tf.Tensor, records.ParsedRecord]:
    """The path of a record's image, and its labels."""
    labels = records.parse(record)
    ending = tf.where(tf.equal(labels.extension, ""), extension, labels.extension)
    return tf.strings.join([folder, "/", labels.frame_id, ending]), labels


def _decode(
    path: tf.Tensor, stated: tf.Tensor, preprocessing: Preprocessing, left_out: Collection[str]
) -> tuple[tf.Tensor, tf.Tensor]:
    """The pixels of an image file, and whether it is good; black where it is not.

    Args:
        path: () string.
        stated: (2,) int32 height and width that the image has to have.
        left_out: paths of files that are known to be bad, and not read.

    Returns:
        (H, W, C) uint8 and () bool.
    """

    def black() -> tf.Tensor:
        size = tf.concat([tf.maximum(stated, 1), [preprocessing.channels]], 0)
        return tf.ensure_shape(tf.zeros(size, tf.uint8), (None, None, preprocessing.channels))

    def decode() -> tuple[tf.Tensor, tf.Tensor]:
        pixels = preprocessing.decode(tf.io.read_file(path))
        as_stated = tf.reduce_all(tf.shape(pixels)[:2] == stated)
        return tf.cond(as_stated, lambda: pixels, black), as_stated

    if not left_out:
        return decode()
    known = tf.reduce_any(path == tf.constant(sorted(left_out)))
    return tf.cond(known, lambda: (black(), tf.constant(False)), decode)


def _select(objects: Sequence[tf.Tensor], keep: tf.Tensor) -> Objects:
    """The rows of boxes, classes and difficult where ``keep`` (G,) is true."""
    boxes, classes, difficult = (tf.boolean_mask(column, keep) for column in objects)
    return boxes, classes, difficult


def _large_enough(boxes: tf.Tensor, min_box_size: tuple[float, float]) -> tf.Tensor:
    """(G,) bool: boxes (G, 4) that are no smaller than a pixel nor than asked for."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return tf.reduce_all(sides >= tf.maximum(tf.constant(min_box_size, tf.float32), 1.0), axis=1)


def _largest(objects: Objects, count: int) -> Objects:
    """The ``count`` objects of largest area, in the order they had."""
    sides = objects[0][:, 2:] - objects[0][:, :2]
    areas = tf.reduce_prod(sides, axis=1)
    kept = tf.math.top_k(areas, tf.minimum(count, tf.size(areas))).indices
    boxes, classes, difficult = (tf.gather(column, tf.sort(kept)) for column in objects)
    return boxes, classes, difficult


def _at_least_one_row(objects: Objects) -> Objects:
    """The same, with a row of padding where there is none: an empty tensor is nobody's friend."""
    boxes, classes, difficult = objects
    missing = tf.maximum(1 - tf.size(classes), 0)
    return (
        tf.pad(boxes, [[0, missing], [0, 0]]),
        tf.pad(classes, [[0, missing]], constant_values=-1),
        tf.pad(difficult, [[0, missing]]),
    )
