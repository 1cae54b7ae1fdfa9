"""From TFRecords and image files to batches, with tf.data.

Nothing here is random in itself: the order of an epoch is a function of (seed, epoch), what
augmentation does to an image a function of (seed, epoch, place of the image in the epoch).  So a
resumed training sees what an uninterrupted one would have seen, whatever the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from frcnn_core.data import records
from frcnn_core.data.augment import Augmentation
from frcnn_core.data.classes import ClassMap
from frcnn_core.data.sources import DIFFICULT_OCCLUSION, Source
from frcnn_core.errors import DataError
from frcnn_core.preprocessing import Preprocessing
from frcnn_core.structures import Batch

SHUFFLE_BUFFER = 10_000
"""Records, not images: a few kilobytes each."""
_OPEN_FILES = 16


class Batches:
    """An iterable of ``Batch`` whose failures name the image file.

    ``dataset`` is the tf.data.Dataset itself.  Give its ``element_spec`` to the training step
    as input signature: the number of boxes differs from batch to batch, and a step traced for
    each number would spend its time tracing.
    """

    def __init__(
        self,
        dataset: tf.data.Dataset,
        *,
        paths: tf.data.Dataset,
        preprocessing: Preprocessing,
    ):
        """
        Args:
            dataset: of Batch.
            paths: of (B,) strings, the image files of each batch in the same order.
            preprocessing: decodes the images.
        """
        self.dataset = dataset
        self._paths = paths
        self._preprocessing = preprocessing

    @property
    def element_spec(self) -> Batch:
        """Shapes and types of a batch; B, G and dynamic sizes are None."""
        return self.dataset.element_spec

    def __iter__(self) -> Iterator[Batch]:
        """One pass.

        Raises:
            DataError: an image file is missing or cannot be decoded.
        """
        iterator = iter(self.dataset)
        number = 0
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except tf.errors.OpError as error:
                if fault := self._fault_in(number):
                    raise DataError(fault) from error
                raise
            yield batch
            number += 1

    def _fault_in(self, number: int) -> str | None:
        """Which image of batch ``number`` cannot be read, and why; None if all can."""
        for batch in self._paths.skip(number).take(1):
            for path in (name.decode() for name in batch.numpy().tolist()):
                try:
                    self._preprocessing.decode(tf.io.read_file(path))
                except tf.errors.NotFoundError:
                    return f"{path}: there is no such image."
                except tf.errors.OpError as problem:
                    reason = problem.message.splitlines()[0]
                    return f"{path}: not a JPEG or PNG image, or damaged: {reason}"
        return None


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
) -> Batches:
    """One epoch: every image exactly once, in an order drawn from (seed, epoch).

    Args:
        augmentation: None changes no image.
        batch_size: images per batch; the last batch may have fewer.
        max_objects: keep only the largest objects of an image that has more.
        epoch: from 0.
        first_step: go on in mid-epoch, after this many batches.
        shard: (rank, ranks): this process's part of the epoch.  An image is augmented alike
            whichever rank gets it.
        min_box_size: (height, width) in network pixels; smaller objects are dropped, those
            below one pixel in any case.
    """
    rank, num_ranks = shard
    rng = np.random.default_rng((seed, epoch))
    ordered = (
        _records(sources, rng)
        .shuffle(SHUFFLE_BUFFER, seed=int(rng.integers(2**31)), reshuffle_each_iteration=False)
        .enumerate()
        .shard(num_ranks, rank)
        .skip(first_step * batch_size)
    )
    return _batches(
        ordered,
        class_map,
        preprocessing,
        augmentation,
        batch_size=batch_size,
        max_objects=max_objects,
        min_box_size=min_box_size,
        seeds=tf.constant((seed, epoch), tf.int64),
    )


def evaluation_batches(
    sources: Sequence[Source],
    class_map: ClassMap,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    max_objects: int | None = None,
    min_box_size: tuple[float, float] = (1.0, 1.0),
) -> Batches:
    """Every image once, in the order of the records; nothing is random.

    Args:
        max_objects: leave it None, so that no ground truth is lost.
        min_box_size: as in training: objects no network could see are not asked for.
    """
    return _batches(
        _records(sources).enumerate(),
        class_map,
        preprocessing,
        None,
        batch_size=batch_size,
        max_objects=max_objects,
        min_box_size=min_box_size,
        seeds=tf.zeros(2, tf.int64),
    )


def _records(sources: Sequence[Source], rng: np.random.Generator | None = None) -> tf.data.Dataset:
    """Of (record, image folder, image extension), three strings.

    With ``rng`` the files come in random order, several at a time: the shuffle buffer of a large
    set then holds records from many places instead of one.
    """
    files = [
        (str(path), str(source.images), source.extension)
        for source in sources
        for path in source.records
    ]
    if rng is not None:
        files = [files[i] for i in rng.permutation(len(files))]

    def read(file):
        return tf.data.TFRecordDataset(file[0]).map(lambda record: (record, file[1], file[2]))

    return tf.data.Dataset.from_tensor_slices(
        tf.reshape(tf.constant(files, tf.string), (-1, 3))
    ).interleave(read, cycle_length=_OPEN_FILES if rng is not None else 1, block_length=1)


def _batches(
    ordered: tf.data.Dataset,
    class_map: ClassMap,
    preprocessing: Preprocessing,
    augmentation: Augmentation | None,
    *,
    batch_size: int,
    max_objects: int | None,
    min_box_size: tuple[float, float],
    seeds: tf.Tensor,
) -> Batches:
    def image_path(record, folder, extension):
        parsed = records.parse(record)
        written = tf.equal(parsed.extension, "")
        ending = tf.where(written, tf.strings.join([".", extension]), parsed.extension)
        return tf.strings.join([folder, "/", parsed.frame_id, ending])

    def example(index, item):
        path = image_path(*item)
        labels = records.parse(item[0])
        image, size, scale = preprocessing.resample(preprocessing.decode(tf.io.read_file(path)))
        boxes = tf.clip_by_value(labels.boxes * tf.tile(scale, [2]), 0.0, tf.tile(size, [2]))
        objects = (
            boxes,
            class_map.ids(labels.class_names),
            labels.occlusion >= DIFFICULT_OCCLUSION,
        )
        objects = _select(objects, (objects[1] >= 0) & _large_enough(boxes, min_box_size))
        if augmentation is not None:
            seed = tf.random.fold_in(seeds, index)
            image, *objects = augmentation.apply(image, *objects, seed)
            objects = _select(objects, _large_enough(objects[0], min_box_size))
        if max_objects is not None:
            objects = _largest(objects, max_objects)
        boxes, classes, difficult = _at_least_one_row(objects)
        images = preprocessing.normalize(preprocessing.pad(image))
        return Batch(images, size, scale, boxes, classes, difficult, path)

    paths = ordered.map(lambda index, item: image_path(*item)).batch(batch_size)
    dataset = (
        ordered.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .padded_batch(
            batch_size,
            padded_shapes=Batch(preprocessing.shape, (2,), (2,), (None, 4), (None,), (None,), ()),
            padding_values=Batch(0.0, 0.0, 0.0, 0.0, -1, False, ""),
        )
        .prefetch(tf.data.AUTOTUNE)
    )
    return Batches(dataset, paths=paths, preprocessing=preprocessing)


def _select(objects, keep):
    """The rows of boxes, classes and difficult where ``keep`` (G,) is true."""
    return tuple(tf.boolean_mask(column, keep) for column in objects)


def _large_enough(boxes: tf.Tensor, min_box_size: tuple[float, float]) -> tf.Tensor:
    """(G,) bool: boxes (G, 4) that are no smaller than a pixel nor than asked for."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return tf.reduce_all(sides >= tf.maximum(tf.constant(min_box_size, tf.float32), 1.0), axis=1)


def _largest(objects, count: int):
    """The ``count`` objects of largest area, in the order they had."""
    sides = objects[0][:, 2:] - objects[0][:, :2]
    areas = tf.reduce_prod(sides, axis=1)
    kept = tf.math.top_k(areas, tf.minimum(count, tf.size(areas))).indices
    return tuple(tf.gather(column, tf.sort(kept)) for column in objects)


def _at_least_one_row(objects):
    """The same, with a row of padding where there is none: an empty tensor is nobody's friend."""
    boxes, classes, difficult = objects
    missing = tf.maximum(1 - tf.size(classes), 0)
    return (
        tf.pad(boxes, [[0, missing], [0, 0]]),
        tf.pad(classes, [[0, missing]], constant_values=-1),
        tf.pad(difficult, [[0, missing]]),
    )
