"""One pass over data, batch by batch, that goes on without bad images and names them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import tensorflow as tf

from frcnn_core.data import index
from frcnn_core.data.bad_images import MISSING, BadImages
from frcnn_core.data.preprocessing import Preprocessing
from frcnn_core.detector import canvas
from frcnn_core.structures import Batch

_NOT_FOR_PEOPLE = re.compile(r"{{.*?}}|\[Op:.*")
"""What TensorFlow adds to its messages."""


class Batches:
    """An iterable of ``Batch`` that goes on without bad images, and names them.

    A bad image is a file that is missing, cannot be decoded, or is not as large as its record
    states.  It keeps its place in the batch, as an absent image: black, without objects, and of
    size (0, 0), so that every anchor is outside of it and its losses are 0.

    Give ``element_spec`` to the training step as input signature: the number of boxes differs
    from batch to batch, and a step traced for each number would spend its time tracing.
    """

    def __init__(
        self,
        build: Callable[[int, Collection[str]], tf.data.Dataset],
        *,
        images: Callable[[int], Iterable[tuple[str, Sequence[int]]]],
        record_files: Sequence[Path],
        preprocessing: Preprocessing,
        bad_images: BadImages,
        num_fillers: int = 0,
    ):
        """
        Args:
            build: (number of the batch to begin with, image files to leave out) to a dataset of
                (Batch, (B, 2) int32 sizes that the records state).
            images: number of a batch to the path and stated size of each image in it.
            record_files: that the dataset reads, to name the damaged one.
            preprocessing: decodes the images.
            bad_images: told which there are.
            num_fillers: batches of ``filler`` that come after those of the dataset.
        """
        self._build = build
        self._images = images
        self._record_files = record_files
        self._preprocessing = preprocessing
        self._bad_images = bad_images
        self._num_fillers = num_fillers
        self._built_for: tuple[int, tuple[str, ...]] | None = None
        self._built: tf.data.Dataset | None = None

    @property
    def dataset(self) -> tf.data.Dataset:
        """Of (Batch, stated sizes), from the first batch on; it ends with an error at an image
        that is bad and not known to be."""
        return self._dataset(0)

    @property
    def element_spec(self) -> Batch:
        """Shapes and types of a batch; B, G and dynamic sizes are None."""
        return cast("tuple[Batch, tf.TensorSpec]", self.dataset.element_spec)[0]

    def __iter__(self) -> Iterator[Batch]:
        """One pass.

        Raises:
            DataError: a record file is damaged, or there are more bad images than are allowed.
        """
        number, iterator = 0, iter(self.dataset)
        while True:
            try:
                batch, stated = next(iterator)
            except StopIteration:
                break
            except tf.errors.OpError as error:
                if found := self._bad_in_batch(number):
                    # A dataset that met an error has lost its place, so another goes on, which
                    # knows what to leave out: a second for each bad image, once in a training.
                    self._bad_images.add(found)
                    iterator = iter(self._dataset(number))
                    continue
                if problem := index.damaged(self._record_files):
                    raise problem from error
                raise
            absent = np.flatnonzero(batch.sizes.numpy()[:, 0] == 0)
            if len(absent):
                names, sizes = batch.names.numpy()[absent], stated.numpy()[absent]
                self._bad_images.add(
                    self._bad_in(
                        (name.decode(), size) for name, size in zip(names, sizes, strict=True)
                    )
                )
            yield batch
            number += 1
        for _ in range(self._num_fillers):
            yield filler(self._preprocessing)

    def _dataset(self, first: int) -> tf.data.Dataset:
        left_out = tuple(self._bad_images.reasons)
        if self._built is None or self._built_for != (first, left_out):
            self._built_for, self._built = (first, left_out), self._build(first, left_out)
        return self._built

    def _bad_in_batch(self, number: int) -> dict[str, str]:
        try:
            return self._bad_in(self._images(number))
        except tf.errors.OpError:
            return {}  # it is the records that cannot be read

    def _bad_in(self, images: Iterable[tuple[str, Sequence[int]]]) -> dict[str, str]:
        """What is wrong with each bad image that is not known yet."""
        found = {}
        for path, stated in images:
            if path not in self._bad_images.reasons and (reason := self._fault(path, stated)):
                found[path] = reason
        return found

    def _fault(self, path: str, stated: Sequence[int]) -> str | None:
        try:
            found = self._preprocessing.decode(tf.io.read_file(path)).shape[:2]
        except tf.errors.NotFoundError:
            return MISSING
        except tf.errors.OpError as problem:
            reason = _NOT_FOR_PEOPLE.sub("", problem.message.splitlines()[0]).strip().rstrip(".")
            return f"not a JPEG or PNG image, or damaged: {reason}."
        if tuple(found) == tuple(stated):
            return None
        return (
            f"is {found[0]} x {found[1]} pixels (height x width) large, but its record says "
            f"{stated[0]} x {stated[1]}, so its boxes would be wrong. Convert the data again."
        )


def filler(preprocessing: Preprocessing) -> Batch:
    """A batch of no image, for a process that has to take part in a step: a single absent one,
    black and without a name, of the smallest size there may be."""
    height, width, channels = preprocessing.shape
    shortest = int(canvas(preprocessing.min_side))
    return Batch(
        images=tf.zeros((1, height or shortest, width or shortest, channels)),
        sizes=tf.zeros((1, 2)),
        scales=tf.ones((1, 2)),
        boxes=tf.zeros((1, 1, 4)),
        classes=tf.fill((1, 1), -1),
        difficult=tf.zeros((1, 1), tf.bool),
        names=tf.constant([""]),
    )
